"""The chain of the audit trail: what a row holds, how it is hashed, and how a break is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from hashlib import sha256

import msgspec

BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What happened to a key.

    Attributes:
        event: ``wrap``, ``unwrap`` (a cold open), ``assign``, ``rewrap``, ``rotate``, ``add_wrapping``,
            ``drop_wrapping``, ``drop_retired``, ``revoked``, ``restored`` or ``shred``.
        tenant: whose key it is.
        dek_id: the DEK, in hexadecimal; empty where all of the tenant's are meant.
        kek_uri: the KEK.
        kek_version: its version.
        detail: a reason, or a count; never a key or a value.
    """

    event: str
    tenant: str
    dek_id: str = ""
    kek_uri: str = ""
    kek_version: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with its moment (ISO 8601, UTC), who caused it, and from where (host and process)."""

    at: str
    actor: str
    origin: str
    what: AuditEvent


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the trail."""

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
    previous: str
    hash: str = ""

    def computed_hash(self) -> str:
        """Return SHA-256 (FIPS 180-4) of all other fields, among them the hash of the row before, in hex.

        The fields are hashed as one MessagePack array, in the order of this class.
        """
        return sha256(msgspec.msgpack.encode(astuple(self)[:-1])).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The outcome of a verification.

    Attributes:
        rows: how many rows were read.
        head: the last row's hash; noted elsewhere, it tells later whether the trail was rewritten as a whole.
        problems: what is wrong, in words; empty if nothing is.
    """

    rows: int
    head: str
    problems: tuple[str, ...]


def chained(seq: int, previous: str, events: Iterable[Stamped]) -> list[AuditEntry]:
    """Return the rows for events that follow row ``seq``, whose hash is ``previous``."""
    rows: list[AuditEntry] = []
    for stamped in events:
        seq, what = seq + 1, stamped.what
        who = (stamped.actor, stamped.origin)
        key = (what.event, what.tenant, what.dek_id, what.kek_uri, what.kek_version)
        unhashed = AuditEntry(seq, stamped.at, *key, *who, what.detail, previous)
        previous = unhashed.computed_hash()
        rows.append(replace(unhashed, hash=previous))
    return rows


def verify_chain(entries: Iterable[AuditEntry], head: tuple[int, str], noted: str | None) -> AuditVerdict:
    """Check every link of a whole trail.

    Args:
        entries: every row, in order.
        head: the number and the hash of the last row as they were written apart from the rows.
        noted: a hash that was seen earlier and has to be there still.
    """
    problems: list[str] = []
    rows, seq, previous, known = 0, 0, BEGINNING, noted is None
    for entry in entries:
        rows += 1
        if entry.seq != seq + 1:
            problems.append(f"rows {seq + 1} to {entry.seq - 1} were removed")
        elif entry.previous != previous:
            problems.append(f"row {entry.seq} does not follow the row before it: one of them was exchanged")
        if entry.computed_hash() != entry.hash:
            problems.append(f"row {entry.seq} was changed")
        seq, previous = entry.seq, entry.hash
        known = known or entry.hash == noted
    if seq < head[0]:
        problems.append(f"rows {seq + 1} to {head[0]} were removed from the end")
    elif (seq, previous) != head:
        problems.append("the end of the trail is not the one that was written")
    if not known:
        problems.append("the hash that was noted earlier is not in the trail: it was rewritten")
    return AuditVerdict(rows, previous, tuple(problems))
