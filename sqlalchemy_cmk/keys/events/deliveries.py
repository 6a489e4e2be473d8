"""What an operator does with events that wait for webhooks: ``keyring.events``. See :class:`Deliveries`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy_cmk.keys.events.courier import Courier
from sqlalchemy_cmk.keys.events.outbox import Delivery, DeliveryState, Outbox
from sqlalchemy_cmk.keys.events.sender import Outcome
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.scope import key_owner


@dataclass(frozen=True, slots=True)
class SendReport:
    """The result of sending what was due.

    Attributes:
        sent: how many events webhooks have taken.
        failed: how many attempts have failed; they are repeated.
        dead: how many are not tried any more.
        waiting: how many wait now.
    """

    sent: int
    failed: int
    dead: int
    waiting: int


class Deliveries:
    """Events that wait for webhooks, or were given up.

    Args:
        outbox: the table of deliveries.
        courier: sends them.

    Every method raises :class:`KeyUnavailable` when the tables cannot be reached now, and
    :class:`ConfigurationError` when they do not exist.
    """

    def __init__(self, outbox: Outbox, courier: Courier) -> None:
        self._outbox = outbox
        self._courier = courier

    def send(self) -> SendReport:
        """Send what is due now, and return once all of it was tried. For a scheduled job."""

        def send() -> SendReport:
            ended = self._courier.send()
            waiting = self._outbox.count(DeliveryState.WAITING)
            return SendReport(ended[Outcome.SENT], ended[Outcome.FAILED], ended[Outcome.DEAD], waiting)

        return off_the_loop(send)

    def waiting(self, tenant: object | None = None, *, limit: int | None = None) -> list[Delivery]:
        """Return what waits, in the order of the events; nothing of it is verified.

        Args:
            tenant: only this tenant's; ``None`` for every tenant's.
            limit: at most so many; ``None`` for all.
        """
        return self._read(tenant, DeliveryState.WAITING, limit)

    def dead(self, tenant: object | None = None, *, limit: int | None = None) -> list[Delivery]:
        """Return what was given up, as :meth:`waiting` returns what waits."""
        return self._read(tenant, DeliveryState.DEAD, limit)

    def retry(self, tenant: object | None = None) -> int:
        """Let what was given up wait again, and return how many events that are.

        Args:
            tenant: only this tenant's; ``None`` for every tenant's.
        """
        name = None if tenant is None else key_owner(tenant)
        found = off_the_loop(lambda: self._outbox.try_again(name, time.time()))
        self._courier.look(at_once=True)
        return found

    def _read(self, tenant: object | None, state: DeliveryState, limit: int | None) -> list[Delivery]:
        name = None if tenant is None else key_owner(tenant)
        return off_the_loop(lambda: self._outbox.read(name, state, limit))
