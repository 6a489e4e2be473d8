"""A key event as others see it: :class:`KeyEvent`, made of an authentic row of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.audit.events import EventKind


class KeyEventKind(StrEnum):
    """What happened, in words that stay as they are."""

    REVOKED = "revoked"
    """The KEK's owner has taken access away."""
    RESTORED = "restored"
    """The KEK opens again, after it had refused or was out of reach."""
    UNAVAILABLE = "unavailable"
    """The KEK could not be reached; once for each outage, tenant and process."""
    GRACE_USED = "grace_used"
    """An opened DEK stays in use past its deadline, because its KEK cannot be reached."""
    EXPIRING = "expiring"
    """The KEK expires within 30 days, 7 days or one."""
    EXPIRED = "expired"
    """The KEK has expired."""
    ROTATED = "rotated"
    """The tenant was given another KEK, DEKs were wrapped by a newer KEK version, or a new DEK was made."""
    LOCKED = "locked"
    """The tenant was locked."""
    UNLOCKED = "unlocked"
    """The tenant was unlocked."""
    SHREDDED = "shredded"
    """The tenant's keys were destroyed."""
    TAMPERED = "tampered"
    """Keys, a sealed value or the audit trail are not what was written."""


_KINDS: dict[str, KeyEventKind] = {
    EventKind.REVOKED: KeyEventKind.REVOKED,
    EventKind.RESTORED: KeyEventKind.RESTORED,
    EventKind.UNAVAILABLE: KeyEventKind.UNAVAILABLE,
    EventKind.RIDE_OUT: KeyEventKind.GRACE_USED,
    EventKind.EXPIRING: KeyEventKind.EXPIRING,
    EventKind.EXPIRED: KeyEventKind.EXPIRED,
    EventKind.ASSIGN: KeyEventKind.ROTATED,
    EventKind.REWRAP: KeyEventKind.ROTATED,
    EventKind.ROTATE: KeyEventKind.ROTATED,
    EventKind.LOCK: KeyEventKind.LOCKED,
    EventKind.UNLOCK: KeyEventKind.UNLOCKED,
    EventKind.SHRED: KeyEventKind.SHREDDED,
    EventKind.TAMPERED: KeyEventKind.TAMPERED,
    EventKind.TRAIL_BROKEN: KeyEventKind.TAMPERED,
}


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """A key event, for a callback. It holds no key and no value.

    Attributes:
        id: the event's permanent name, in every message: the hash of its row in the audit trail.
        kind: what happened.
        time: when, in UTC.
        tenant: whose key it is; ``""`` is the platform.
        kek_uri: the KEK; empty if none is meant.
        kek_version: the KEK's version; empty if none is meant.
        reason: why, or a count, as the audit trail's ``detail`` says it.
        actor: who caused it.
        seq: the number of its row in the audit trail: later events have greater ones.
        recorded_as: its name in the audit trail, such as ``"assign"`` for one that is ``rotated``.
    """

    id: str
    kind: KeyEventKind
    time: datetime
    tenant: str
    kek_uri: str
    kek_version: str
    reason: str
    actor: str
    seq: int
    recorded_as: str


def kind_of(entry: AuditEntry) -> KeyEventKind | None:
    """Return what a row of the audit trail tells others; ``None`` if it is for the trail alone."""
    return _KINDS.get(entry.event)


def key_event(entry: AuditEntry) -> KeyEvent | None:
    """Return a row of the audit trail as an event for others; ``None`` if it is for the trail alone."""
    kind = kind_of(entry)
    if kind is None:
        return None
    about = (entry.tenant, entry.kek_uri, entry.kek_version, entry.detail, entry.actor)
    return KeyEvent(entry.hash, kind, datetime.fromisoformat(entry.at), *about, entry.seq, entry.event)


def kinds_named(names: tuple[str, ...]) -> frozenset[KeyEventKind]:
    """Return the kinds of these names; of none, every kind.

    Raises:
        ConfigurationError: there is no such kind.
    """
    try:
        return frozenset(map(KeyEventKind, names or KeyEventKind))
    except ValueError:
        raise ConfigurationError(
            f"a kind of key event is one of {', '.join(KeyEventKind)}: give their names"
        ) from None
