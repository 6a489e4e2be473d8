"""The permissions and network rules of a vault."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from sqlalchemy_cmk.testing import errors

PERMISSIONS = frozenset(
    [
        "get",
        "list",
        "create",
        "import",
        "update",
        "delete",
        "recover",
        "purge",
        "rotate",
        "getRotationPolicy",
        "setRotationPolicy",
        "encrypt",
        "decrypt",
        "wrapKey",
        "unwrapKey",
        "sign",
        "verify",
    ]
)
"""The permissions that can be granted, by their names in Key Vault's access policies."""

ENCRYPTION_USER = frozenset({"get", "wrapKey", "unwrapKey"})
"""The permissions of the role "Key Vault Crypto Service Encryption User", which the use of a CMK needs."""

NETWORK_RULES = {
    "ForbiddenByFirewall": "Client address is not authorized and caller is not a trusted service.",
    "ForbiddenByConnection": "Public network access is disabled and request is not from a trusted service "
    "nor via an approved private link.",
}

_BY_LOWER_CASE = {name.lower(): name for name in PERMISSIONS}


@dataclass(frozen=True)
class Principal:
    """An application that can log in.

    Attributes:
        name: its name in the request log.
        client_id: its application id.
        secret: its client secret.
        object_id: its id in the directory.
    """

    name: str
    client_id: str = field(default_factory=lambda: str(uuid4()))
    secret: str = field(default_factory=lambda: f"secret~{uuid4().hex}", repr=False)
    object_id: str = field(default_factory=lambda: str(uuid4()))


class Access:
    """The permissions of one vault, and its network rules.

    Args:
        vault: the vault's name, for messages.
        tenant_id: the directory, for messages.
        rbac: whether refusals are worded as for Azure's roles instead of an access policy.
    """

    def __init__(self, vault: str, tenant_id: str, rbac: bool) -> None:
        self._vault = vault
        self._issuer = f"https://sts.windows.net/{tenant_id}/"
        self._rbac = rbac
        self._lock = threading.Lock()
        self._granted: dict[str, frozenset[str]] = {}
        self._blocked: str | None = None

    def grant(self, principal: Principal, permissions: Iterable[str]) -> None:
        """Grant a principal further permissions."""
        wanted = {_BY_LOWER_CASE.get(name.lower(), name) for name in permissions}
        unknown = wanted - PERMISSIONS
        if unknown:
            known = ", ".join(sorted(PERMISSIONS))
            raise ValueError(f"no such permission: {', '.join(sorted(unknown))} (there are {known})")
        with self._lock:
            self._granted[principal.client_id] = self._granted.get(principal.client_id, frozenset()) | wanted

    def revoke(self, principal: Principal) -> None:
        """Take every permission away from the principal."""
        with self._lock:
            self._granted.pop(principal.client_id, None)

    def block(self, rule: str | None) -> None:
        """Refuse every caller by a network rule, a key of :data:`NETWORK_RULES`; ``None`` lifts it."""
        if rule is not None and rule not in NETWORK_RULES:
            raise ValueError(f"no such rule: {rule} (there are {', '.join(NETWORK_RULES)})")
        with self._lock:
            self._blocked = rule

    def check(self, principal: Principal, permission: str) -> None:
        """Raise the 403 that the principal gets, unless it has the permission."""
        with self._lock:
            blocked = self._blocked
            granted = self._granted.get(principal.client_id, frozenset())
        caller = f"appid={principal.client_id};oid={principal.object_id};iss={self._issuer}"
        if blocked is not None:
            message = f"{NETWORK_RULES[blocked]}\r\nCaller: {caller}\r\nVault: {self._vault};location=local"
            raise errors.forbidden(message, blocked)
        if permission in granted:
            return
        if self._rbac:
            message = (
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny "
                "assignments or role definitions were changed recently, please observe propagation time.\r\n"
                f"Caller: {caller}\r\nAction: '{permission}'\r\nAssignment: (not found)\r\n"
                f"Vault: {self._vault};location=local"
            )
            raise errors.forbidden(message, "ForbiddenByRbac")
        message = (
            f"The user, group or application '{caller}' does not have keys {permission} permission on key "
            f"vault '{self._vault};location=local'."
        )
        raise errors.forbidden(message, "ForbiddenByPolicy")
