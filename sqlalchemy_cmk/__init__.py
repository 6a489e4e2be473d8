"""Encrypted columns for SQLAlchemy under tenants' own keys: seal, open, and switch off by the key."""

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    InvalidValue,
    KeyRevoked,
    KeyUnavailable,
    RunInterrupted,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
)
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.orm import install
from sqlalchemy_cmk.scope import tenant_scope
from sqlalchemy_cmk.sealed import Sealed
from sqlalchemy_cmk.types import EncryptedType

install()

__all__ = [
    "CmkError",
    "ConfigurationError",
    "CredentialError",
    "EncryptedType",
    "InvalidValue",
    "KeyRevoked",
    "KeyUnavailable",
    "Keyring",
    "RunInterrupted",
    "Sealed",
    "TamperedError",
    "TenantMismatch",
    "TenantRequired",
    "UnsupportedOperation",
    "tenant_scope",
]
