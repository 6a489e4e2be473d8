"""Why keys are used now, and by whom; and the ids by which a vault's own log names the calls of its KEKs.

An id is a UUID (RFC 9562, version 8). Its first four groups say which process has asked for which DEK, and
are the same each time; the last counts the process's calls. So one row of the audit trail, that of the DEK's
cold open, explains every later proof of it that the vault's log has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from uuid import UUID

from sqlalchemy_cmk.errors import ConfigurationError

LONGEST_REASON = LONGEST_ACTOR = 200

_NONCE = os.urandom(16)
_calls = count(1)


@dataclass(frozen=True, slots=True)
class Because:
    """A purpose, and who has it.

    Attributes:
        reason: why keys are used; no secret.
        actor: the person or job that uses them; empty for the keyring's ``actor``.
    """

    reason: str
    actor: str = ""


_because: ContextVar[Because | None] = ContextVar("sqlalchemy_cmk_because", default=None)
_request: ContextVar[str] = ContextVar("sqlalchemy_cmk_request", default="")


@contextmanager
def because(reason: str, actor: str | None = None) -> Iterator[None]:
    """Say why keys are used in a block, for the audit trail. An inner block takes the outer one's place.

    It is kept in a context variable: it follows ``await`` and new tasks, and other threads do not see it.

    Args:
        reason: why, at most 200 characters; no secret.
        actor: who, at most 200 characters; ``None`` for the outer block's, or the keyring's ``actor``.

    Raises:
        ConfigurationError: one of them is no text, or too long, or the reason is empty.
    """
    outer = _because.get()
    if actor is None:
        actor = "" if outer is None else outer.actor
    for name, text, longest in (("reason", reason, LONGEST_REASON), ("actor", actor, LONGEST_ACTOR)):
        if not isinstance(text, str) or len(text) > longest:
            raise ConfigurationError(f"{name} is a text: give at most {longest} characters")
    if not reason.strip():
        raise ConfigurationError("the reason is empty: say why the keys are used")
    token = _because.set(Because(reason, actor))
    try:
        yield
    finally:
        _because.reset(token)


def current() -> Because | None:
    """Return why keys are used here, if somebody has said so."""
    return _because.get()


@contextmanager
def kek_call(subject: bytes) -> Iterator[str]:
    """Give the calls of a KEK in a block an id, and return it.

    Args:
        subject: what is wrapped or unwrapped, such as a DEK's id; no secret.
    """
    process = os.getpid().to_bytes(8, "big")  # a forked child has its parent's nonce
    begins = sha256(_NONCE + process + subject).digest()[:10]
    octets = bytearray(begins + (next(_calls) % 2**48).to_bytes(6, "big"))
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    token = _request.set(str(UUID(bytes=bytes(octets))))
    try:
        yield _request.get()
    finally:
        _request.reset(token)


def call_id() -> str:
    """Return the id of the call that is being made; empty where it has none."""
    return _request.get()
