"""The request log: one entry for each request to the emulator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """A request and its result.

    Attributes:
        vault: the vault's name; empty for a request to the token issuer.
        method: the HTTP method.
        path: the path, without the query.
        operation: what was asked for, such as ``"unwrapKey"``; empty if it is nothing that is known.
        key: the key's name, where there is one.
        version: the key's version, where the path names one.
        principal: the caller's name; ``None`` without a valid token.
        status: the HTTP status; ``None`` if the connection was reset instead.
        inner: the inner error's code, where there is one.
        request_id: the id that the client has given the request, as the real log's ``CorrelationId``.
        user_agent: the client, as the real log's ``clientInfo_s``.
    """

    vault: str
    method: str
    path: str
    operation: str
    key: str | None
    version: str | None
    principal: str | None
    status: int | None
    inner: str | None = None
    request_id: str = ""
    user_agent: str = ""


class RequestLog:
    """The requests in the order in which they were answered."""

    def __init__(self, parent: RequestLog | None = None) -> None:
        self._lock = threading.Lock()
        self._entries: list[Seen] = []
        self._parent = parent

    def add(self, entry: Seen) -> None:
        """Add a request to this log and to the emulator's."""
        with self._lock:
            self._entries.append(entry)
        if self._parent is not None:
            self._parent.add(entry)

    def matching(self, **wanted: object) -> list[Seen]:
        """Return the requests whose attributes have these values: ``matching(operation="get")``."""
        return [seen for seen in self if all(getattr(seen, name) == value for name, value in wanted.items())]

    def count(self, **wanted: object) -> int:
        """Return how many requests have these values: ``count(operation="unwrapKey", status=200)``."""
        return len(self.matching(**wanted))

    def operations(self) -> list[str]:
        """Return the operations of requests with a valid token, in order."""
        return [seen.operation for seen in self if seen.principal is not None]

    def clear(self) -> None:
        """Remove every entry of this log; the emulator's keeps them."""
        with self._lock:
            self._entries.clear()

    def __iter__(self) -> Iterator[Seen]:
        with self._lock:
            return iter(tuple(self._entries))

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def __repr__(self) -> str:
        return f"RequestLog({list(self)!r})"
