"""What vaults have said of keys without a version, remembered for a while."""

from __future__ import annotations

import time

from sqlalchemy_cmk.providers.azure.keys import VaultKey, fits
from sqlalchemy_cmk.providers.base import KekExpiry
from sqlalchemy_cmk.runtime.clock import elapsed


class Descriptions:
    """The newest versions of keys, by their URIs; only of keys that can serve now.

    A key that was refused is looked up again at each use: its owner may have corrected it.

    Args:
        lasting: seconds after which a key is looked up again.
    """

    def __init__(self, lasting: float) -> None:
        self._lasting = lasting
        self._known: dict[str, tuple[float, VaultKey]] = {}
        self._expiries: dict[str, KekExpiry] = {}

    def get(self, kek_uri: str) -> VaultKey | None:
        """Return a key that was described a while ago at most, and that can still serve."""
        at, key = self._known.get(kek_uri, (0.0, None))
        if key is not None and elapsed() < at + self._lasting and fits(key, time.time()):
            return key
        return None

    def put(self, kek_uri: str, key: VaultKey) -> None:
        """Remember a key if it can serve; otherwise forget it. When it expires is remembered anyway."""
        self._expiries.pop(kek_uri, None)
        if key.expires is not None:
            self._expiries[kek_uri] = KekExpiry(key.version, key.expires)
        if fits(key, time.time()):
            self._known[kek_uri] = elapsed(), key
        else:
            self.drop(kek_uri)

    def expiry(self, kek_uri: str) -> KekExpiry | None:
        """Return when a key expires, as it was last described; ``None`` if never, or it was not described."""
        return self._expiries.get(kek_uri)

    def drop(self, kek_uri: str) -> None:
        """Forget a key."""
        self._known.pop(kek_uri, None)

    def clear(self) -> None:
        """Forget every key."""
        self._known.clear()
        self._expiries.clear()
