"""Every exception of the library, in one tree.

All of them mix in :class:`sqlalchemy.exc.DontWrapMixin`. Otherwise SQLAlchemy would wrap an error raised
while it binds parameters in a ``StatementError``, which carries those parameters as plain text. No message
contains a plaintext, a key or a token.
"""

from __future__ import annotations

from sqlalchemy.exc import DontWrapMixin


class CmkError(DontWrapMixin, Exception):
    """Base class of every error that this library raises."""


class ConfigurationError(CmkError):
    """The application or its key storage is set up incorrectly; the message says how to fix it."""


class KekNotAllowed(ConfigurationError):
    """``Keyring(kek_allowed=...)`` does not let this KEK serve this tenant; no vault was called."""


class KekNotOwned(ConfigurationError):
    """The KEK's owner has not said that it may serve this tenant; nothing was changed.

    A key in a vault says so with a tag, which ``cmk onboard`` shows. ``Keyring(tenant_tag=...)`` changes this
    rule.
    """


class TenantRequired(CmkError):
    """No tenant is known for a value that belongs to one, or the scope contradicts the row.

    Set the row's tenant column, or wrap the statement in ``tenant_scope("...")``.
    """


class TenantMismatch(TenantRequired):
    """The tenant scope and the row name two different tenants; nothing was sealed or opened."""


class KeyRevoked(CmkError):
    """The KEK's owner has taken access away, or the tenant's DEKs were destroyed.

    Attributes:
        tenant: the tenant whose key it is, if known.
    """

    def __init__(self, message: str, tenant: str | None = None) -> None:
        super().__init__(message)
        self.tenant = tenant


class KeyLocked(KeyRevoked):
    """The tenant is locked, even if its KEK allows access: none of its data is opened or sealed.

    ``keyring.unlock(tenant)`` or ``cmk unlock`` unlocks it.
    """


class ApprovalRequired(CmkError):
    """A second person has to approve this. Nothing was changed, and a request for it was made.

    Attributes:
        request: the id of the request.
        tenant: whose keys are to be changed.
    """

    def __init__(self, message: str, request: str = "", tenant: str = "") -> None:
        super().__init__(message)
        self.request = request
        self.tenant = tenant


class KeyUnavailable(CmkError):
    """A KEK or the key tables cannot be reached now (network, lock, missing mount); try again later."""


class CredentialError(CmkError):
    """A vault or token did not accept the application's credential: neither revoked nor unavailable.

    Renew the application's secret or its sign-in. Opened DEKs stay usable until they have to be proven again.
    """


class TamperedError(CmkError):
    """A stored value is not what this library wrote there: altered, truncated, moved, or plain text."""


class RunInterrupted(CmkError):
    """A re-keying run had to stop: the database failed, or another process has taken the run over.

    Committed work stays. Run the same job again and it continues from there.
    """


class InvalidValue(CmkError, ValueError):
    """A Python value does not fit the column's declared type; nothing was sent to the database."""


class UnsupportedOperation(CmkError, TypeError):
    """A SQL operation, such as LIKE or an ordering, has no meaning on a sealed column.

    Attributes:
        index: the option of ``EncryptedType`` that would support it; ``None`` if there is none.
    """

    def __init__(self, message: str, index: str | None = None) -> None:
        super().__init__(message)
        self.index = index


class UnverifiedWebhook(CmkError):
    """A request that claims to be a webhook has no valid, current signature: answer 401."""
