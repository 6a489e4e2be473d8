"""Every exception of the library, in one tree.

All of them mix in :class:`sqlalchemy.exc.DontWrapMixin`: SQLAlchemy would otherwise wrap an error
raised while it binds parameters in a ``StatementError`` that carries those parameters, in plain text.
No message holds a plaintext, a key or a token.
"""

from __future__ import annotations

from sqlalchemy.exc import DontWrapMixin


class CmkError(DontWrapMixin, Exception):
    """Base of every error that this library raises."""


class ConfigurationError(CmkError):
    """The application or its key storage is set up wrongly; the message says how to mend it."""


class TenantRequired(CmkError):
    """No tenant is known for a value that belongs to one, or the scope contradicts the row.

    Set the row's tenant column, or wrap the statement in ``tenant_scope("...")``.
    """


class TenantMismatch(TenantRequired):
    """The tenant scope and the row name two different tenants; nothing was sealed or opened."""


class KeyRevoked(CmkError):
    """The KEK's owner has taken access away: disabled, deleted, or its DEKs were destroyed.

    Attributes:
        tenant: whose key it is, where that is known.
    """

    def __init__(self, message: str, tenant: str | None = None) -> None:
        super().__init__(message)
        self.tenant = tenant


class KeyUnavailable(CmkError):
    """A KEK or the key tables cannot be reached now (network, lock, missing mount); try again."""


class CredentialError(CmkError):
    """The application's own credential failed at a KEK's place: neither revoked nor unavailable.

    Renew the application's secret or its sign-in. Opened DEKs serve until their next proof.
    """


class TamperedError(CmkError):
    """A stored value is not what this library wrote there: altered, truncated, moved, or plain text."""


class RunInterrupted(CmkError):
    """A re-keying run had to stop: the database failed it, or another process has taken it over.

    What was committed stays; the same job goes on from there when it is run again.
    """


class InvalidValue(CmkError, ValueError):
    """A Python value does not fit the column's declared type; nothing was sent to the database."""


class UnsupportedOperation(CmkError, TypeError):
    """A SQL operation that has no meaning on a sealed column, such as LIKE or an ordering."""
