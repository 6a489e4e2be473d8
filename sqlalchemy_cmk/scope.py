"""The tenant scope: whose rows a statement is about where no row says so.

The row's own tenant column decides wherever a row is at hand. A scope serves Core statements, bulk
UPDATE and queries; see :func:`tenant_scope`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from uuid import UUID

from sqlalchemy_cmk.errors import TenantMismatch, TenantRequired

PLATFORM_TENANT = ""
LONGEST_TENANT = 190

_scope: ContextVar[str | None] = ContextVar("sqlalchemy_cmk_tenant", default=None)


def tenant_name(value: object) -> str:
    """Return the name under which keys are kept for the value of a tenant column.

    Args:
        value: what the row's tenant column holds: a str, an int, a UUID, or an enum member.

    Raises:
        TenantRequired: the value is ``None`` or an empty string, a row without an owner, or longer than
            190 characters, which the key tables hold.
    """
    if type(value) is str:
        name: str = value
    elif value is None:
        name = ""
    else:
        plain = value.value if isinstance(value, Enum) else value
        if not isinstance(plain, str | int | UUID):
            kind = type(plain).__name__
            raise TenantRequired(f"a tenant is named by a str, an int, a UUID or an Enum, not {kind}")
        name = str(plain)
    if not name:
        raise TenantRequired("the row's tenant column is empty: set it before the row is written")
    if len(name) > LONGEST_TENANT:
        raise TenantRequired(f"a tenant's name has at most {LONGEST_TENANT} characters, not {len(name)}")
    return name


def key_owner(tenant: object) -> str:
    """Return the name under which a tenant's keys are kept; the platform's is ``""``."""
    return PLATFORM_TENANT if tenant == PLATFORM_TENANT else tenant_name(tenant)


@contextmanager
def tenant_scope(tenant: object) -> Iterator[None]:
    """Name the tenant of every statement in the block that has no row to tell it.

    Inside the block nothing of another tenant is sealed or opened. It is kept in a context variable:
    it follows ``await`` and is not seen by other threads.

    Args:
        tenant: the tenant's name, as its rows carry it; ``None`` leaves an outer scope for the block.

    Raises:
        TenantRequired: the name is an empty string.
    """
    token = _scope.set(None if tenant is None else tenant_name(tenant))
    try:
        yield
    finally:
        _scope.reset(token)


def current_tenant() -> str | None:
    """Return the tenant of the innermost scope, or ``None`` outside of any."""
    return _scope.get()


def agreed_tenant(owner: str | None, where: str) -> str:
    """Return the one tenant that the row and the scope agree upon.

    Args:
        owner: the tenant that the row names; ``None`` where no row is at hand.
        where: ``table.column`` or a table's name, for the message.

    Raises:
        TenantRequired: neither the row nor a scope names a tenant.
        TenantMismatch: both do, and they differ.
    """
    scoped = _scope.get()
    if owner is None:
        if scoped is None:
            raise TenantRequired(
                f"{where}: no tenant is known for this statement: set the row's tenant column, "
                'or run it inside tenant_scope("...")'
            )
        return scoped
    if scoped is not None and scoped != owner:
        raise TenantMismatch(
            f"{where}: the row belongs to tenant {owner!r}, but the scope is tenant_scope({scoped!r})"
        )
    return owner
