"""What still has to be posted, in SQL. See :class:`Outbox`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from time import sleep
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.events.key_event import kind_of
from sqlalchemy_cmk.keys.events.table import make_deliveries_table
from sqlalchemy_cmk.keys.storage.connections import Work
from sqlalchemy_cmk.keys.storage.database import DatabaseLocked, KeyDatabase

UNADDRESSED = ""
# How often, and after how many seconds, the end of an attempt is noted again where SQLite is locked.
REPORTS, REPORT_AGAIN = 100, 0.1
_LONGEST_PROBLEM = 200


class DeliveryState(StrEnum):
    """Whether a delivery is tried again."""

    WAITING = "waiting"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a webhook has not taken yet. Nothing in it is verified: anybody may have written it.

    Attributes:
        seq: the number of the event's row in the audit trail.
        webhook: the webhook's name; empty until its tenant's webhooks were looked up.
        tenant: the tenant's name.
        state: whether it is tried again.
        attempts: how often it was begun.
        since: when it began to wait, in seconds since 1970.
        next_at: when it is tried next, in seconds since 1970.
        problem: what went wrong last; empty if nothing has.
    """

    seq: int
    webhook: str
    tenant: str
    state: str
    attempts: int
    since: float
    next_at: float
    problem: str


_KINDS = (int, str, str, str, int, int | float, int | float, str)


class Outbox:
    """Reads and writes the table of deliveries. A delivery is claimed by counting its attempt.

    The process that claims one has it until ``next_at``. Every later change of it names the attempt, so that
    it has no effect once somebody else has claimed it.

    Args:
        database: the database of the key tables.

    Every method but :meth:`write` raises :class:`KeyUnavailable` when the table cannot be reached now, and
    :class:`ConfigurationError` when it does not exist.
    """

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database
        self._table = database.tables_of(make_deliveries_table)

    def write(self, connection: Connection, entries: Iterable[AuditEntry], now: float) -> bool:
        """Note rows of the trail that are for others, in the transaction that appends them.

        Returns:
            Whether there was one.
        """
        told = [one for one in entries if kind_of(one) is not None]
        if told:
            rows = [_row(Delivery(one.seq, UNADDRESSED, one.tenant, "", 0, now, now, "")) for one in told]
            connection.execute(insert(self._table), rows)
        return bool(told)

    def due(self, now: float, limit: int) -> list[Delivery]:
        """Return deliveries that may be tried now, the longest due first."""
        t = self._table.c
        waiting = select(self._table).where(t.state == DeliveryState.WAITING, t.next_at <= now)
        return self._read(waiting.order_by(t.next_at, t.seq).limit(limit))

    def next_at(self) -> float | None:
        """Return when the next delivery may be tried; ``None`` if none waits."""
        t = self._table.c
        earliest = select(func.min(t.next_at)).where(t.state == DeliveryState.WAITING)
        found = self._database.run(lambda connection: connection.scalar(earliest))
        return found if isinstance(found, int | float) else None

    def claim(self, one: Delivery, now: float, until: float) -> Delivery | None:
        """Return a delivery as this caller's own until then; ``None`` if somebody else has it."""
        t = self._table.c
        claimed = replace(one, attempts=one.attempts + 1, next_at=until)
        taken = update(self._table).where(*self._as_it_was(one), t.next_at <= now)
        taken = taken.values(attempts=claimed.attempts, next_at=until)
        return claimed if self._change(taken) else None

    def address(self, one: Delivery, webhooks: Collection[str], now: float) -> None:
        """Put a delivery to each webhook in the place of one that was not addressed yet."""
        t = self._table.c

        def work(connection: Connection) -> None:
            if connection.execute(delete(self._table).where(*self._as_it_was(one))).rowcount != 1:
                return
            there = set(connection.scalars(select(t.webhook).where(t.seq == one.seq)))
            rows = [_row(replace(one, webhook=name, attempts=0, next_at=now)) for name in webhooks]
            new = [row for row in rows if row["webhook"] not in there]
            if new:
                connection.execute(insert(self._table), new)

        self._report(work)

    def done(self, one: Delivery) -> None:
        """Remove a delivery that the webhook has taken."""
        self._report(_running(delete(self._table).where(*self._as_it_was(one))))

    def failed(self, one: Delivery, problem: str, next_at: float | None) -> None:
        """Note that a delivery has failed.

        Args:
            one: the delivery, claimed.
            problem: what went wrong.
            next_at: when to try again; ``None`` for never.
        """
        values: dict[str, Any] = {"problem": problem[:_LONGEST_PROBLEM]}
        values |= {"state": DeliveryState.DEAD} if next_at is None else {"next_at": next_at}
        self._report(_running(update(self._table).where(*self._as_it_was(one)).values(**values)))

    def postpone(self, one: Delivery, now: float, until: float) -> None:
        """Let whatever else waits for a delivery's webhook wait until then."""
        t = self._table.c
        same = t.tenant == one.tenant, t.webhook == one.webhook
        waiting = t.state == DeliveryState.WAITING, t.next_at <= now
        self._change(update(self._table).where(*same, *waiting).values(next_at=until))

    def read(self, tenant: str | None, state: DeliveryState | None, limit: int | None) -> list[Delivery]:
        """Return deliveries in the order of their events.

        Args:
            tenant: only this tenant's; ``None`` for every tenant's.
            state: only those in this state; ``None`` for all.
            limit: at most so many; ``None`` for all.
        """
        t = self._table.c
        wanted = select(self._table).where(*self._of(tenant, state))
        return self._read(wanted.order_by(t.seq, t.webhook).limit(limit))

    def count(self, state: DeliveryState) -> int:
        """Return how many deliveries are in a state."""
        counted = select(func.count()).select_from(self._table).where(self._table.c.state == state)
        return self._database.run(lambda connection: connection.scalar(counted)) or 0

    def try_again(self, tenant: str | None, now: float) -> int:
        """Let deliveries that were given up wait again; return how many."""
        again = update(self._table).where(*self._of(tenant, DeliveryState.DEAD))
        return self._change(again.values(state=DeliveryState.WAITING, since=now, next_at=now))

    def _of(self, tenant: str | None, state: DeliveryState | None) -> list[ColumnElement[bool]]:
        t = self._table.c
        chosen = [] if tenant is None else [t.tenant == tenant]
        return chosen if state is None else [*chosen, t.state == state]

    def _as_it_was(self, one: Delivery) -> tuple[ColumnElement[bool], ...]:
        t = self._table.c
        same = t.seq == one.seq, t.webhook == one.webhook
        return (*same, t.attempts == one.attempts, t.state == DeliveryState.WAITING)

    def _change(self, statement: Any) -> int:
        # What can be done later keeps nobody from SQLite's lock.
        return self._database.run(_running(statement), wait_for_lock=False)

    def _report(self, work: Work[object]) -> None:
        """Note how an attempt has ended. That should not be left undone: the event would be sent again."""
        for _ in range(REPORTS):
            try:
                self._database.run(work, wait_for_lock=False)
            except DatabaseLocked:
                sleep(REPORT_AGAIN)
            else:
                return
        self._database.run(work, wait_for_lock=False)

    def _read(self, statement: Any) -> list[Delivery]:
        try:
            rows = self._database.run(lambda connection: connection.execute(statement).all())
        except UnicodeDecodeError:
            # Its message quotes the bytes.
            problem = "the table of deliveries holds bytes that are not text: it was altered"
        else:
            found = (Delivery(*tuple[Any, ...](row)) for row in rows)
            # SQLite keeps anything in any column; what is no delivery is left where it is.
            return [one for one in found if all(map(isinstance, astuple(one), _KINDS))]
        raise TamperedError(problem)


def _running(statement: Any) -> Work[int]:
    return lambda connection: int(connection.execute(statement).rowcount)


def _row(one: Delivery) -> dict[str, Any]:
    return {
        "seq": one.seq,
        "webhook": one.webhook,
        "tenant": one.tenant,
        "state": DeliveryState.WAITING,
        "attempts": one.attempts,
        "since": one.since,
        "next_at": one.next_at,
        "problem": one.problem,
    }
