"""Why keys are used now, and by whom; and the ids by which a vault's own log names the calls of its KEKs.

An id is a UUID (RFC 9562, version 8). Its first four groups say which process has called about which DEK, or
for which tenant's change of keys, and are the same each time. So one row of the audit trail, that of the
DEK's cold open, explains every later proof of it that the vault's log has. The first digit of the last group
says why the call was made, by its place in :data:`REASONS`; the others count the process's calls.
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

# What the library itself knows of why a KEK is called. The ids of calls hold a reason's place here.
REASONS = ("", "open", "proof", "change", "rewrap", "rekey", "status", "doctor", "onboarding")
# The characters of an id that are the same for all calls of a process about one DEK, or one tenant's change.
_ALIKE = len("7b1f02aa-93c4-8d10-a1b2")

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
_doing: ContextVar[str] = ContextVar("sqlalchemy_cmk_doing", default="")
_request: ContextVar[str] = ContextVar("sqlalchemy_cmk_request", default="")


@contextmanager
def because(reason: str, actor: str | None = None) -> Iterator[None]:
    """Say why keys are used in a block, for the audit trail. An inner block takes the outer one's place.

    It is kept in a context variable: it follows ``await`` and new tasks, and other threads do not see it.

    Args:
        reason: why, at most 200 characters; no secret.
        actor: who, at most 200 characters; ``None`` for the outer block's, or the keyring's ``actor``.

    Raises:
        ConfigurationError: one of them is not text, or too long, or the reason is empty.
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
def carried(why: Because | None) -> Iterator[None]:
    """Have what another thread or process has said hold in a block."""
    token = _because.set(why)
    try:
        yield
    finally:
        _because.reset(token)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what the library does in a block, for the calls of KEKs that it makes there.

    Args:
        what: one of :data:`REASONS`, and more words where they help: ``"rekey run 5f0c"``.
    """
    token = _doing.set(what)
    try:
        yield
    finally:
        _doing.reset(token)


def done_for(otherwise: str) -> str:
    """Return what the library does here; ``otherwise`` where nothing around says so."""
    return _doing.get() or otherwise


@contextmanager
def kek_call(subject: bytes, reason: str) -> Iterator[None]:
    """Give the calls of a KEK in a block an id.

    Args:
        subject: what the calls are about, such as a DEK's id; no secret.
        reason: why they are made, if nothing around the block says so; see :func:`doing`.
    """
    digit = REASONS.index(done_for(reason).partition(" ")[0])
    octets = _alike(subject) + (digit << 44 | next(_calls) % 2**44).to_bytes(6, "big")
    token = _request.set(str(UUID(bytes=octets)))
    try:
        yield
    finally:
        _request.reset(token)


def call_id() -> str:
    """Return the id of the call that is being made; empty if it has none."""
    return _request.get()


def calls_about(subject: bytes) -> str:
    """Return how the ids of this process's calls about something begin."""
    return str(UUID(bytes=_alike(subject) + bytes(6)))[:_ALIKE]


def _alike(subject: bytes) -> bytes:
    process = os.getpid().to_bytes(8, "big")  # a forked child has its parent's nonce
    octets = bytearray(sha256(_NONCE + process + subject).digest()[:10])
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    return bytes(octets)
