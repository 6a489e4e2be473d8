"""The hash chain of the audit trail: a row's fields, their hash, and rows appended to a chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

import msgspec

from sqlalchemy_cmk.keys.audit.events import EventKind

BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A key event, before it is stamped and chained.

    Attributes:
        event: what happened.
        tenant: the tenant whose key it is.
        dek_id: the DEK's id in hexadecimal; empty if all of the tenant's DEKs are meant.
        kek_uri: the KEK.
        kek_version: the KEK's version.
        detail: a reason, or a count; never a key or a value.
        epoch: how often the tenant's keys have changed, with this event; 0 where they have not.
    """

    event: EventKind
    tenant: str
    dek_id: str = ""
    kek_uri: str = ""
    kek_version: str = ""
    detail: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with its time (ISO 8601, UTC), the actor who caused it, and its origin (host and process)."""

    at: str
    actor: str
    origin: str
    what: AuditEvent


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit trail.

    ``previous`` is the hash of the row before, ``key_id`` names the record key that authenticates this one,
    and ``mac`` is that key's; both are empty if no record key was configured.
    """

    seq: int
    at: str
    event: str
    tenant: str
    dek_id: str
    kek_uri: str
    kek_version: str
    actor: str
    origin: str
    detail: str
    epoch: int
    previous: str
    key_id: str = ""
    hash: str = ""
    mac: str = ""

    def computed_hash(self) -> str:
        """Return the SHA-256 (FIPS 180-4) of the fields before ``hash``, the previous row's hash among them,
        in hexadecimal.

        They are hashed as one MessagePack array, in the order of this class.
        """
        about = (self.event, self.tenant, self.dek_id, self.kek_uri, self.kek_version)
        place = (self.actor, self.origin, self.detail, self.epoch, self.previous, self.key_id)
        return sha256(msgspec.msgpack.encode((self.seq, self.at, *about, *place))).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the trail: the number and the hash of its last row, authenticated as a row is."""

    seq: int = 0
    hash: str = BEGINNING
    key_id: str = ""
    mac: str = ""


def chained(seq: int, previous: str, events: Iterable[Stamped], key_id: str) -> list[AuditEntry]:
    """Return the rows of events that are appended after row ``seq``, whose hash is ``previous``.

    Their MACs, by the record key ``key_id``, are not there yet.
    """
    rows: list[AuditEntry] = []
    for stamped in events:
        seq, what = seq + 1, stamped.what
        who = (stamped.actor, stamped.origin)
        key = (str(what.event), what.tenant, what.dek_id, what.kek_uri, what.kek_version)
        unhashed = AuditEntry(seq, stamped.at, *key, *who, what.detail, what.epoch, previous, key_id)
        previous = unhashed.computed_hash()
        rows.append(replace(unhashed, hash=previous))
    return rows
