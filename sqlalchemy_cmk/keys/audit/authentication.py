"""Rows, heads and exported heads of the audit trail under the record key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

import msgspec

from sqlalchemy_cmk.keys.audit.chain import AuditEntry, AuditHead, Stamped, chained
from sqlalchemy_cmk.keys.manifest.record_key import RecordKey, RecordKeys

_MAC = re.compile(r"[0-9a-f]{64}")
_ROW, _HEAD = "audit row", "audit head"


class Authenticity(Enum):
    """What a MAC says about what it stands beside."""

    AUTHENTIC = "authentic"
    """A record key made it."""
    ABSENT = "absent"
    """There is none."""
    UNKNOWN_KEY = "unknown key"
    """It names a record key that is not known here, or not any more."""
    FORGED = "forged"
    """The record key that it names did not make it."""


class Authentication:
    """Makes and checks the MACs of the trail. Without record keys it makes none.

    Args:
        record_keys: the record keys; ``None`` if there are none.

    Every method that takes no key raises what :meth:`RecordKeys.current` raises.
    """

    def __init__(self, record_keys: RecordKeys | None) -> None:
        self._record_keys = record_keys

    @property
    def possible(self) -> bool:
        """Whether there are record keys."""
        return self._record_keys is not None

    @property
    def origin(self) -> str:
        """Where the record keys are kept, for messages."""
        return "" if self._record_keys is None else self._record_keys.origin

    def key(self) -> RecordKey | None:
        """Return the key that authenticates now; ``None`` without record keys."""
        return None if self._record_keys is None else self._record_keys.current()

    def checker(self) -> Checker:
        """Return a checker for one verification, which looks each key up once."""
        return Checker(self._record_keys)


class Checker:
    """Checks MACs, and looks each key up once.

    Args:
        record_keys: the record keys; without them no MAC is authentic.
    """

    def __init__(self, record_keys: RecordKeys | None) -> None:
        self._record_keys = record_keys
        self._known: dict[str, RecordKey | None] = {}

    def row(self, entry: AuditEntry) -> Authenticity:
        """Check a row's MAC; that its hash is the hash of its fields is another check."""
        return self.check(_ROW, _row_message(entry), entry.key_id, entry.mac)

    def head(self, head: AuditHead) -> Authenticity:
        """Check the head's MAC."""
        return self.check(_HEAD, _head_message(head), head.key_id, head.mac)

    def check(self, use: str, message: bytes, key_id: object, mac: object) -> Authenticity:
        """Check a MAC as it was read from outside.

        Args:
            use: what the MAC is for.
            message: what it is over.
            key_id: the record key that it names.
            mac: the MAC in hexadecimal.
        """
        if not key_id and not mac:
            return Authenticity.ABSENT
        if not isinstance(key_id, str) or not isinstance(mac, str):
            return Authenticity.FORGED
        key = self._key(key_id)
        if key is None:
            return Authenticity.UNKNOWN_KEY
        # One spelling only: fromhex takes capitals and spaces too.
        given = bytes.fromhex(mac) if _MAC.fullmatch(mac) else b""
        return Authenticity.AUTHENTIC if key.verifies(use, message, given) else Authenticity.FORGED

    def _key(self, key_id: str) -> RecordKey | None:
        if self._record_keys is None:
            return None
        if key_id not in self._known:
            self._known[key_id] = self._record_keys.find(key_id)
        return self._known[key_id]


def authenticated(
    seq: int, previous: str, events: Iterable[Stamped], key: RecordKey | None
) -> list[AuditEntry]:
    """Return the rows of events that are appended after row ``seq``, whose hash is ``previous``.

    They have the MACs of a record key, or none.
    """
    if key is None:
        return chained(seq, previous, events, "")
    rows = chained(seq, previous, events, key.id)
    return [replace(one, mac=key.mac(_ROW, _row_message(one)).hex()) for one in rows]


def authenticated_head(seq: int, hash_: str, key: RecordKey | None) -> AuditHead:
    """Return the head that says where the trail ends, with the MAC of a record key, or without one."""
    head = AuditHead(seq, hash_)
    return (
        head if key is None else replace(head, key_id=key.id, mac=key.mac(_HEAD, _head_message(head)).hex())
    )


def _row_message(entry: AuditEntry) -> bytes:
    # The hash covers every other field, the row's number and the row before it and the key among them.
    return str(entry.hash).encode()


def _head_message(head: AuditHead) -> bytes:
    return msgspec.msgpack.encode((head.seq, head.hash))
