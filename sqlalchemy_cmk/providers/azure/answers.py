"""What a vault's answers mean: revoked, unavailable, the application's own fault, or tampered with.

Only codes go into messages: the service's own texts name principals and addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

MENDS = {
    "KeyDisabled": "the key is disabled: its owner enables it again",
    "KeyExpired": "the key has expired: its owner rotates it or extends its expiry",
    "KeyNotYetValid": "the key is not valid yet: its owner changes its activation date",
    "KeyOperationForbidden": "the key's permitted operations lack wrapKey or unwrapKey: its owner adds them",
    "ForbiddenByPolicy": "the application's access policy is gone: its owner grants get, wrapKey, unwrapKey",
    "ForbiddenByRbac": "the application's role is gone: its owner assigns Crypto Service Encryption User",
    "ForbiddenByFirewall": "the vault's firewall refuses the application: its owner lets its address in",
    "ForbiddenByConnection": "the vault takes private connections only: its owner approves the application's",
    "ObjectIsDeletedButRecoverable": "the key is deleted: its owner can recover it",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A vault's answer.

    Attributes:
        status: the HTTP status.
        body: the JSON body, empty where there is none.
        retry_after: seconds after which the vault wants to be asked again, where it says so.
    """

    status: int
    body: dict[str, Any]
    retry_after: float | None = None

    @property
    def code(self) -> str:
        """The innermost error code."""
        error = self.body.get("error")
        if not isinstance(error, dict):
            return ""
        inner = error.get("innererror")
        code = inner.get("code") if isinstance(inner, dict) else None
        return str(code or error.get("code") or "")


def refuse(answer: Answer, kek_uri: str, operation: str) -> NoReturn:
    """Raise the error that an answer other than success means."""
    raise _meaning(
        answer, f"{kek_uri}: {operation} was answered {answer.status} {answer.code}".rstrip(), operation
    )


def _meaning(answer: Answer, what: str, operation: str) -> CmkError:
    mend = MENDS.get(answer.code, "")
    if answer.status == 401:
        return CredentialError(f"{what}: the application's own credential is not accepted; renew it")
    if answer.status == 403:
        return KeyRevoked(f"{what}: {mend or 'the vault refuses the application'}")
    if answer.status == 404 or answer.code == "ObjectIsDeletedButRecoverable":
        return KeyRevoked(
            f"{what}: {mend or 'the key or this version is gone: its owner can recover a deleted key'}"
        )
    if answer.status in TRANSIENT or answer.status >= 500:
        return KeyUnavailable(what)
    if answer.status == 400 and operation == "unwrapKey":
        return TamperedError(f"{what}: a wrapped DEK is damaged, or was not wrapped by this key")
    return ConfigurationError(
        f"{what}: the key cannot serve as a KEK: it has to be RSA, or oct-HSM of 256 bits"
    )
