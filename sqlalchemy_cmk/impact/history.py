"""What the audit trail says of a tenant's keys: who last opened them, and which KEKs wrapped them before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.runtime.clock import as_utc

# Rows of the trail that are looked at, from the newest.
LOOKED_AT = 1000

_WRAPPED_BY = {EventKind.ASSIGN, EventKind.WRAP, EventKind.ADD_WRAPPING, EventKind.DROP_WRAPPING}


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """What the newest rows of the trail say.

    Attributes:
        opened_at: when a process last opened a DEK that it did not hold (UTC).
        opened_by: who that was.
        keks: the KEKs that have wrapped its DEKs.
    """

    opened_at: datetime | None
    opened_by: str
    keks: tuple[str, ...]

    @classmethod
    def of(cls, keyring: Keyring, tenant: str) -> KeyHistory:
        """Read the rows of a tenant."""
        opened_at, opened_by, keks = None, "", dict[str, None]()
        for one in keyring.audit.entries(tenant, LOOKED_AT):
            if one.event == EventKind.UNWRAP:
                opened_at, opened_by = _moment(one.at), one.actor
            elif one.event in _WRAPPED_BY and one.kek_uri:
                keks[one.kek_uri] = None
        return cls(opened_at, opened_by, tuple(keks))


def _moment(text: str) -> datetime | None:
    try:
        return as_utc(datetime.fromisoformat(text))
    except ValueError:  # cmk audit verify names the row
        return None
