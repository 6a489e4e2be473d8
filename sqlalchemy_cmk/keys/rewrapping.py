"""Rewrapping after a KEK was rotated: which wrappings are old, how fast, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy_cmk.keys.model import DekRecord
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.providers.base import Wrapped


@dataclass(slots=True)
class RewrapReport:
    """What ``rewrap`` did.

    Attributes:
        tenants: how many tenants are wrapped by the newest versions now.
        rewrapped: how many DEKs were wrapped anew.
        failed: by tenant, why its DEKs could not be.
    """

    tenants: int = 0
    rewrapped: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Pace:
    """Keeps a loop at a bounded rate.

    Args:
        rate: at most so many turns a second; ``None`` for as many as go.
    """

    def __init__(self, rate: float | None) -> None:
        self._every = 1 / rate if rate else 0.0
        self._next = time.monotonic()

    def wait(self, turns: int = 1) -> None:
        """Wait until the next turns are due."""
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + turns * self._every


def stale_wrappings(wrapper: Wrapper, deks: Iterable[DekRecord]) -> set[Wrapped]:
    """Return the wrappings made by another than the newest version of their KEK; each KEK is asked once."""
    wrappings = [one for dek in deks for one in dek.wrappings]
    newest = {
        kek_uri: wrapper.provider_of(kek_uri).newest_version(kek_uri)
        for kek_uri in {one.kek_uri for one in wrappings}
    }
    return {one for one in wrappings if one.kek_version != newest[one.kek_uri]}
