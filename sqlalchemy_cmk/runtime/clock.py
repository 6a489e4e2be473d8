"""Timestamps in UTC, seconds for the deadlines of keys, and durations as users give them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.kinds import described

__all__ = ["as_utc", "duration", "elapsed", "this_second", "utc_now"]


def utc_now() -> datetime:
    """Return the current time in UTC, with its time zone."""
    return datetime.now(UTC)


def as_utc(timestamp: datetime) -> datetime:
    """Return a timestamp that was read from the database, with its time zone.

    Not every database returns it with one.
    """
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def this_second() -> datetime:
    """Return the current time in UTC, in whole seconds: every database returns it as it was written."""
    return utc_now().replace(microsecond=0)


def duration(given: float | timedelta, name: str) -> float:
    """Return a duration in seconds.

    Args:
        given: seconds, 0 or more, or a ``timedelta``.
        name: what it is, for the message.

    Raises:
        ConfigurationError: it is something else.
    """
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ConfigurationError(
            f"{name} is a duration: give seconds, 0 or more, or a timedelta, not {described(given)}"
        )
    return float(seconds)


def _clock_that_counts_sleep() -> Callable[[], float]:
    """Return a monotonic clock, in seconds, that goes on while the machine sleeps.

    ``time.monotonic`` stands still then on Linux and macOS: a revoked key would serve on for as long as the
    machine slept. Linux has CLOCK_BOOTTIME for this, macOS CLOCK_MONOTONIC_RAW (Linux has a clock of that
    name too, which stands still). Windows' ``time.monotonic`` counts sleep; other systems have no better one.
    """
    name = "CLOCK_MONOTONIC_RAW" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    clock = getattr(time, name, None)
    if clock is not None:
        try:
            time.clock_gettime(clock)
        except OSError:  # a kernel or sandbox that lacks it
            return time.monotonic
        return partial(time.clock_gettime, clock)
    return time.monotonic


elapsed: Callable[[], float] = _clock_that_counts_sleep()
"""Seconds since some moment, never backwards, also while the machine sleeps: for the deadlines of keys."""
