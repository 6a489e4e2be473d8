"""Key Vault's published service limits: weighted transactions in ten seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy_cmk.testing import errors

WINDOW = 10
SOFTWARE = {2048: (20, 4000), 3072: (20, 1000), 4096: (20, 500)}
HARDWARE = {2048: (10, 2000), 3072: (10, 500), 4096: (10, 250)}
OTHER = 4000


class ServiceLimits:
    """Counts a vault's transactions, each by the share of its kind's limit that it uses.

    Args:
        now: the emulator's clock.
        scale: what to multiply the limits with, so that a test meets them after few requests.
    """

    def __init__(self, now: Callable[[], float], scale: float) -> None:
        self._now = now
        self._scale = scale
        self._lock = threading.Lock()
        self._window = 0
        self._used = 0.0

    def spend(self, kty: str, size: int, makes_a_key: bool) -> None:
        """Count a transaction; ``size`` is 0 if it concerns no key.

        Raises:
            ServiceError: 429, for a transaction beyond the limit. It does not count.
        """
        table = HARDWARE if kty.endswith("-HSM") else SOFTWARE
        create, other = table.get(size, (OTHER, OTHER))
        cost = 1 / ((create if makes_a_key else other) * self._scale)
        now = self._now()
        with self._lock:
            window = int(now // WINDOW)
            if window != self._window:
                self._window, self._used = window, 0.0
            if self._used + cost > 1 + 1e-9:
                raise errors.throttled(WINDOW - int(now % WINDOW))
            self._used += cost
