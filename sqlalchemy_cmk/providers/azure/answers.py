"""Translates a vault's answers into errors: revoked, unavailable, credential, configuration, tampered.

Only what Key Vault itself says is its verdict: a status with the ``error.code`` that belongs to it. Gateways,
proxies and sign-in pages answer with the same statuses; what they say is an outage. Messages hold only codes:
the service's own texts name principals and addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.providers import _base64url
from sqlalchemy_cmk.runtime.secret import Secret

VERDICTS = frozenset(
    {
        (400, "BadParameter"),
        (401, "Unauthorized"),
        (403, "AccessDenied"),
        (403, "Forbidden"),
        (404, "KeyNotFound"),
        (409, "Conflict"),
    }
)
"""The answers other than 200 that tell what became of a key; the code is the outer one."""

DELETED = "ObjectIsDeletedButRecoverable"

REMEDIES = {
    "KeyDisabled": "the key is disabled: its owner enables it again",
    "KeyExpired": "the key has expired: its owner rotates it or extends its expiry",
    "KeyNotYetValid": "the key is not valid yet: its owner changes its activation date",
    "KeyOperationForbidden": "the key's permitted operations lack wrapKey or unwrapKey: its owner adds them",
    "ForbiddenByPolicy": "the application's access policy is gone: its owner grants get, wrapKey, unwrapKey",
    "ForbiddenByRbac": "the application's role is gone: its owner assigns Crypto Service Encryption User",
    "ForbiddenByFirewall": "the vault's firewall refuses the application: its owner lets its address in",
    "ForbiddenByConnection": "the vault takes private connections only: its owner approves the application's",
    DELETED: "the key is deleted: its owner can recover it",
}

_CODE = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """A vault's answer, or that of something on the way to it; its ``repr`` does not show the body.

    Attributes:
        status: the HTTP status.
        body: the JSON object in the body; empty if there is none.
        retry_after: seconds after which the vault wants to be called again, if it says so.
    """

    status: int
    body: dict[str, Any] = field(repr=False)
    retry_after: float | None = None

    @property
    def outer_code(self) -> str:
        """The error's code; empty if the body is not Key Vault's."""
        error = self.body.get("error")
        return _code(error.get("code")) if isinstance(error, dict) else ""

    @property
    def code(self) -> str:
        """The innermost error code."""
        if not self.outer_code:
            return ""
        error = self.body["error"]
        # Key Vault has been seen to write it in both ways.
        inner = error.get("innererror", error.get("innerError"))
        return (_code(inner.get("code")) if isinstance(inner, dict) else "") or self.outer_code

    @property
    def is_verdict(self) -> bool:
        """Whether the vault itself has done, or refused, what was asked."""
        if self.status == 409:
            return self.code == DELETED
        return self.status == 200 or (self.status, self.outer_code) in VERDICTS

    def value(self) -> Secret | None:
        """Return the bytes in the member ``value``; ``None`` if it holds none."""
        try:
            return Secret(_base64url.decode(self.body["value"])) if self.body["value"] else None
        except (KeyError, TypeError, ValueError):
            return None


def _code(given: object) -> str:
    # It becomes part of messages: nothing but what a code may be.
    return given if isinstance(given, str) and _CODE.fullmatch(given) else ""


def refuse(answer: Answer, kek_uri: str, operation: str) -> NoReturn:
    """Raise the error that an answer other than success stands for."""
    raise _meaning(answer, summary(answer, kek_uri, operation), operation)


def summary(answer: Answer, uri: str, operation: str) -> str:
    """Return what was asked and answered, for a message."""
    return f"{uri}: {operation} was answered {answer.status} {answer.code}".rstrip()


def is_ungranted(message: str) -> bool:
    """Return whether an error's message says that the application lacks its role or access policy."""
    return any(REMEDIES[code] in message for code in ("ForbiddenByPolicy", "ForbiddenByRbac"))


def _meaning(answer: Answer, what: str, operation: str) -> CmkError:
    if not answer.is_verdict or answer.status == 200:
        return KeyUnavailable(f"{what}: that is not an answer of Key Vault to this")
    remedy = REMEDIES.get(answer.code, "")
    if answer.status == 401:
        return CredentialError(f"{what}: the application's own credential is not accepted; renew it")
    if answer.status == 403:
        return KeyRevoked(f"{what}: {remedy or 'the vault refuses the application'}")
    if answer.status in (404, 409):
        return KeyRevoked(
            f"{what}: {remedy or 'the key or this version is gone: its owner can recover a deleted key'}"
        )
    if operation == "unwrapKey":
        return TamperedError(f"{what}: a wrapped DEK is damaged, or was not wrapped by this key")
    return ConfigurationError(
        f"{what}: the key cannot serve as a KEK: it has to be RSA, or oct-HSM of 256 bits"
    )
