"""Requests to a vault, whose ``repr`` shows no body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy_cmk.providers import _base64url
from sqlalchemy_cmk.runtime.secret import Secret


class VaultRequest:
    """A request to one vault.

    The bytes that are sent are made when it is sent: whatever fails before or after holds no DEK.

    Args:
        method: the HTTP method.
        path: the path, made of parsed parts.
        body: the JSON object in the body; ``None`` for no body.
        value: the bytes of the body's member ``value``, such as a DEK.
    """

    __slots__ = ("_body", "_value", "method", "path")

    def __init__(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, value: Secret | None = None
    ) -> None:
        self.method = method
        self.path = path
        self._body = body
        self._value = value

    def __repr__(self) -> str:
        return f"<{self.method} {self.path}>"

    def content(self) -> bytes | None:
        """Return the body's bytes: give them straight to the call that sends them."""
        if self._body is None:
            return None
        if self._value is None:
            return json.dumps(self._body).encode()
        return json.dumps({**self._body, "value": _base64url.encode(self._value.reveal())}).encode()
