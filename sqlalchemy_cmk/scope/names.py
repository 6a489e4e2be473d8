"""What a tenant is called: one name for all forms of what its rows' tenant column holds."""

from __future__ import annotations

from enum import Enum
from uuid import UUID

from sqlalchemy_cmk.errors import TenantRequired

PLATFORM_TENANT = ""
LONGEST_TENANT = 190


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
    platform = isinstance(tenant, str) and tenant == PLATFORM_TENANT
    return PLATFORM_TENANT if platform else tenant_name(tenant)
