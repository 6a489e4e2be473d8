"""A request: what one person asks for, and another has to approve. See :class:`Request`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any


class RequestState(StrEnum):
    """The states of a request. Only ``pending`` and ``approved`` are open."""

    PENDING = "pending"
    APPROVED = "approved"
    USED = "used"
    """What was asked for is done."""
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    VOID = "void"
    """The tenant's keys have changed since: what would be done is no longer what was asked for."""

    @property
    def is_open(self) -> bool:
        """Whether it may still be approved or used."""
        return self in (RequestState.PENDING, RequestState.APPROVED)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for.

    Attributes:
        id: its name.
        tenant: whose keys are to be changed.
        operation: ``shred``, ``drop_retired``, ``assign`` or ``unlock``.
        arguments: all that decides what will be done, as JSON with sorted keys.
        epoch: how often the tenant's keys had changed when it was made. After another change it is void.
        requested_by: the actor who asks.
        reason: why.
        requested_at: when it was made (UTC).
        expires_at: until when it may be approved and used (UTC).
        state: what has become of it.
        decided_by: the actor who approved, refused or withdrew it; empty while it is pending.
        decided_at: when that was (UTC).
        decision: why it was refused.
    """

    id: str
    tenant: str
    operation: str
    arguments: str
    epoch: int
    requested_by: str
    reason: str
    requested_at: datetime
    expires_at: datetime
    state: RequestState = RequestState.PENDING
    decided_by: str = ""
    decided_at: datetime | None = None
    decision: str = ""

    @property
    def fingerprint(self) -> str:
        """A text that is the same for requests for the same change of the same keys."""
        return fingerprint(self.tenant, self.operation, self.arguments, self.epoch)

    @property
    def what(self) -> str:
        """What is asked for, in words."""
        return f"{self.operation} of tenant {self.tenant!r} with {self.arguments}"


def canonical(arguments: Mapping[str, Any]) -> str:
    """Return arguments as JSON that is the same for equal arguments."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"))


def fingerprint(tenant: str, operation: str, arguments: str, epoch: int) -> str:
    """Return the SHA-256 of what is asked for, in hexadecimal digits."""
    return sha256(json.dumps([tenant, operation, arguments, epoch]).encode()).hexdigest()
