"""The tenant scope: whose rows a statement is about where no row says so.

The row's own tenant column decides wherever a row is at hand. A scope serves Core statements, bulk
UPDATE and queries; see :class:`tenant_scope`, and :func:`carry_scope` for threads and generators.
"""

from sqlalchemy_cmk.scope.block import tenant_scope
from sqlalchemy_cmk.scope.carrying import carry_scope
from sqlalchemy_cmk.scope.entered import agreed_tenant, current_tenant
from sqlalchemy_cmk.scope.names import LONGEST_TENANT, PLATFORM_TENANT, key_owner, tenant_name

__all__ = [
    "LONGEST_TENANT",
    "PLATFORM_TENANT",
    "agreed_tenant",
    "carry_scope",
    "current_tenant",
    "key_owner",
    "tenant_name",
    "tenant_scope",
]
