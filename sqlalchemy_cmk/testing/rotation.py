"""Rotation policies of keys, and when a new version expires."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy_cmk.testing.errors import bad_parameter

DAY = 86400
_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)
_SECONDS = (365 * DAY, 30 * DAY, 7 * DAY, DAY, 3600, 60, 1)
_NOTIFY = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}


def seconds(duration: object) -> float:
    """Return the length of an ISO 8601 duration; a year has 365 days here, and a month has 30."""
    found = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if found is None or not any(found.groups()):
        raise bad_parameter(f"'{duration}' is not an ISO 8601 duration.")
    return sum(int(count or 0) * unit for count, unit in zip(found.groups(), _SECONDS, strict=True))


@dataclass
class RotationPolicy:
    """A key's rotation policy. It is applied when the key is rotated, and rotates nothing itself."""

    actions: list[dict[str, Any]] = field(default_factory=lambda: [_NOTIFY])
    expiry: str | None = None
    created: int | None = None
    updated: int | None = None

    def replace(self, body: Mapping[str, Any], now: float) -> None:
        """Replace the policy by that of a request's body."""
        actions = body.get("lifetimeActions")
        expiry = (body.get("attributes") or {}).get("expiryTime")
        if expiry is not None and seconds(expiry) < 28 * DAY:
            raise bad_parameter("The expiry time of a rotation policy must be at least 28 days.")
        for action in actions or []:
            for duration in action.get("trigger", {}).values():
                if duration is not None:
                    seconds(duration)
        self.actions = self.actions if actions is None else actions
        self.expiry = expiry
        self.created = self.created or int(now)
        self.updated = int(now)

    def expires(self, now: float) -> float | None:
        """Return when a version that is made now expires."""
        return None if self.expiry is None else now + seconds(self.expiry)

    def shown(self, key_id: str) -> dict[str, Any]:
        """Return the policy as the service shows it."""
        attributes = {"expiryTime": self.expiry, "created": self.created, "updated": self.updated}
        return {"id": f"{key_id}/rotationpolicy", "lifetimeActions": self.actions, "attributes": attributes}
