"""Moments as the key tables keep them: UTC, which not every database gives back with its zone."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def aware(moment: datetime) -> datetime:
    """Return a moment that was read, with its zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
