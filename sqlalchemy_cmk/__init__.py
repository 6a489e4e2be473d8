"""Encrypted columns for SQLAlchemy, with a separate key for each tenant that its owner can revoke."""

from sqlalchemy_cmk.alembic.registry.restoring import restore_types
from sqlalchemy_cmk.alembic.registry.table import make_conversions_table, make_registry_table
from sqlalchemy_cmk.columns.doors import sealed_columns
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import (
    ApprovalRequired,
    CmkError,
    ConfigurationError,
    CredentialError,
    InvalidValue,
    KekNotAllowed,
    KekNotOwned,
    KeyLocked,
    KeyRevoked,
    KeyUnavailable,
    RunInterrupted,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    UnverifiedWebhook,
)
from sqlalchemy_cmk.hooks import check_scope, install
from sqlalchemy_cmk.hooks.unsupported import check_anew
from sqlalchemy_cmk.keys import KekPolicy, KeyEvent, Keyring, Webhook, verify_webhook
from sqlalchemy_cmk.keys.approvals.table import make_requests_table
from sqlalchemy_cmk.keys.declarations import restorers
from sqlalchemy_cmk.keys.events.table import make_deliveries_table
from sqlalchemy_cmk.keys.indexes.table import make_indexes_table
from sqlalchemy_cmk.keys.storage.tables import register_tables
from sqlalchemy_cmk.rekey.tables import make_rekey_tables
from sqlalchemy_cmk.scope import carry_scope, tenant_scope

__version__ = "1.0.0rc1"

install()

# Every key table has to be there, whichever parts of the library an application has imported.
register_tables(make_rekey_tables)
register_tables(make_registry_table)
register_tables(make_conversions_table)
register_tables(make_indexes_table)
register_tables(make_deliveries_table)
register_tables(make_requests_table)

restorers += [restore_types, check_anew]

__all__ = [
    "ApprovalRequired",
    "CmkError",
    "ConfigurationError",
    "CredentialError",
    "EncryptedType",
    "InvalidValue",
    "KekNotAllowed",
    "KekNotOwned",
    "KekPolicy",
    "KeyEvent",
    "KeyLocked",
    "KeyRevoked",
    "KeyUnavailable",
    "Keyring",
    "RunInterrupted",
    "Sealed",
    "TamperedError",
    "TenantMismatch",
    "TenantRequired",
    "UnsupportedOperation",
    "UnverifiedWebhook",
    "Webhook",
    "carry_scope",
    "check_scope",
    "sealed_columns",
    "tenant_scope",
    "verify_webhook",
]
