"""HTTP requests and answers, as the rest of the emulator sees them."""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Request:
    """A request that was read completely."""

    method: str
    path: str
    query: Mapping[str, str]
    authorization: str
    body: bytes
    request_id: str = ""
    user_agent: str = ""
    identity_header: str = ""

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object; raises :class:`ValueError` for anything else."""
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value

    def token(self) -> str | None:
        """Return the bearer token, if there is one."""
        kind, _, token = self.authorization.partition(" ")
        return token.strip() if kind.lower() == "bearer" and token.strip() else None


@dataclass(frozen=True)
class Answer:
    """An answer; ``body`` is sent as JSON unless it is bytes or ``None``.

    ``half`` breaks the connection in the middle of the body; ``drip`` is the pause before each of its bytes.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    half: bool = False
    drip: float | None = None

    def content(self) -> bytes:
        """Return the body as it is sent."""
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


class Hangup(Exception):
    """Raised to reset the connection instead of answering."""


def encode(value: bytes) -> str:
    """Return unpadded base64url, as Key Vault writes bytes."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def encode_number(value: int) -> str:
    """Return a positive integer as a JWK holds it: big-endian, without leading zeros."""
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def decode(text: object) -> bytes:
    """Return the bytes of unpadded base64url; raises :class:`ValueError` for anything else."""
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def decode_number(text: object) -> int:
    """Return the integer that a JWK holds."""
    return int.from_bytes(decode(text), "big")
