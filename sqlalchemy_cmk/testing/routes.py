"""Maps a request's method and path to an operation of Key Vault."""

from __future__ import annotations

from dataclasses import dataclass

_ON_KEY = {
    ("GET", "versions"): "listVersions",
    ("POST", "create"): "create",
    ("POST", "rotate"): "rotate",
    ("GET", "rotationpolicy"): "getRotationPolicy",
    ("PUT", "rotationpolicy"): "setRotationPolicy",
}
_WITH_KEY = {name.lower(): name for name in ("wrapKey", "unwrapKey", "encrypt", "decrypt", "sign", "verify")}
_NAMED = {"GET": "get", "PATCH": "update"}
_DELETED = {"GET": "getDeleted", "DELETE": "purge"}

PERMISSIONS = {"listVersions": "list", "getDeleted": "get", "listDeleted": "list"}
"""The permission that an operation needs, if it has another name."""


@dataclass(frozen=True)
class Route:
    """An operation, and the key and version in the path; ``operation`` is empty for an unknown path."""

    operation: str
    name: str = ""
    version: str | None = None

    @property
    def permission(self) -> str:
        """The permission that the caller needs."""
        return PERMISSIONS.get(self.operation, self.operation)


def route(method: str, path: str) -> Route:
    """Return the operation of a request; empty path segments, such as a missing version, are ignored."""
    parts = [part for part in path.split("/") if part]
    kind, rest = (parts[0], parts[1:]) if parts else ("", [])
    if kind == "keys":
        return _keys(method, rest)
    if kind == "deletedkeys":
        return _deleted(method, rest)
    return Route("")


def _keys(method: str, rest: list[str]) -> Route:
    if not rest:
        return Route("list" if method == "GET" else "")
    name, last = rest[0], rest[-1]
    if len(rest) == 1:
        return Route({**_NAMED, "PUT": "import", "DELETE": "delete"}.get(method, ""), name)
    if len(rest) == 2 and (method, last) in _ON_KEY:
        return Route(_ON_KEY[method, last], name)
    if method == "POST" and last in _WITH_KEY and len(rest) <= 3:
        return Route(_WITH_KEY[last], name, rest[1] if len(rest) == 3 else None)
    return Route(_NAMED.get(method, "") if len(rest) == 2 else "", name, rest[1])


def _deleted(method: str, rest: list[str]) -> Route:
    if not rest:
        return Route("listDeleted" if method == "GET" else "")
    if len(rest) == 1:
        return Route(_DELETED.get(method, ""), rest[0])
    return Route("recover" if method == "POST" and rest[1:] == ["recover"] else "", rest[0])
