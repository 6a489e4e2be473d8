"""The row by which processes notice that a tenant was locked, unlocked or shredded. See :class:`LockRow`.

It only says that something has changed. Whether a tenant is locked stands in its own record, which its
manifest authenticates: somebody who can write to this row can make processes look in vain, or look later.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.runtime.parts import in_parts

ONLY = 1
PAGE = 500
_NOTICED = frozenset({TenantState.LOCKED, TenantState.SHREDDED})


class LockRow:
    """Counts the changes that every process has to notice within seconds.

    Args:
        database: the database of the key tables.

    Attributes:
        channel: where such changes are announced, on databases that can.
    """

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database
        self._table = database.tables.locks
        self._tenants = database.tables.tenants
        self.channel = self._table.name

    def generation(self) -> int:
        """Return how many such changes there were; reads one row by its primary key.

        Raises:
            KeyUnavailable: the key tables cannot be reached now.
        """
        wanted = select(self._table.c.generation).where(self._table.c.id == ONLY)
        found = self._database.run(lambda c: c.scalar(wanted))
        return int(found or 0)

    def locked(self) -> frozenset[str]:
        """Return the names of the tenants whose rows say that they are locked; nothing is verified.

        Raises:
            KeyUnavailable: the key tables cannot be reached now.
        """
        t = self._tenants.c
        wanted = select(t.tenant).where(t.state == TenantState.LOCKED)
        return frozenset(self._database.run(partial(_scalars, wanted)))

    def shredded(self, tenants: Iterable[str]) -> frozenset[str]:
        """Return which of these tenants were shredded, as their rows say; nothing is verified.

        Raises:
            KeyUnavailable: the key tables cannot be reached now.
        """
        t, found = self._tenants.c, set[str]()
        for part in in_parts(tenants, PAGE):
            wanted = select(t.tenant).where(t.tenant.in_(part), t.state == TenantState.SHREDDED)
            found |= self._database.run(partial(_scalars, wanted))
        return frozenset(found)

    def note(self, connection: Connection, states: Iterable[tuple[TenantState, TenantState]]) -> None:
        """Count changes of states, in the transaction of the changes, where processes have to notice one.

        They are announced too.

        Args:
            connection: in the transaction.
            states: the state of each tenant before its change, and after.

        Raises:
            IntegrityError: another process has just made the row.
        """
        if not any(was is not now and not _NOTICED.isdisjoint((was, now)) for was, now in states):
            return
        rows, counted = self._table, self._table.c.generation
        advance = update(rows).where(rows.c.id == ONLY).values(generation=counted + 1)
        if connection.execute(advance).rowcount == 0:
            connection.execute(insert(rows).values(id=ONLY, generation=1))
        self._database.announce(connection, self.channel)


def _scalars(wanted: Select[Any], connection: Connection) -> set[str]:
    return set(connection.scalars(wanted))
