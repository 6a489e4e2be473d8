"""The tables of the audit trail, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.audit.chain import BEGINNING, AuditEntry, AuditHead
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.runtime.parts import in_parts

PAGE = 1000
NO_ROOM = 2**62


class TrailRows:
    """Reads and writes the rows of the trail and its head.

    Args:
        database: the database of the key tables.
    """

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database
        self._table = database.tables.audit
        self._head = database.tables.audit_head
        self._tenants = database.tables.tenants

    def lock(self, connection: Connection) -> tuple[AuditHead | None, int | None]:
        """Lock the trail's end until the transaction ends; return the head and the last row's number."""
        # The first statement writes: that locks on every database.
        connection.execute(update(self._head).where(self._head.c.id == 1).values(id=1))
        newest = select(func.max(self._table.c.seq)).scalar_subquery()
        row = connection.execute(self._select_head(newest)).first()
        if row is not None:
            return _head(row), row[-1]
        return None, connection.execute(select(newest)).scalar()

    def last(self, connection: Connection) -> tuple[int, str]:
        """Return the last row's number and hash; numbers that leave no room do not count."""
        seq = self._table.c.seq
        rows = select(seq, self._table.c.hash).where(seq < NO_ROOM).order_by(seq.desc()).limit(1)
        row = connection.execute(rows).first()
        return (row[0], str(row[1])) if row is not None and isinstance(row[0], int) else (0, BEGINNING)

    def add(
        self, connection: Connection, entries: Sequence[AuditEntry], head: AuditHead, *, new: bool
    ) -> None:
        """Add rows, and write the head that says where the trail ends now.

        Args:
            connection: in the transaction that has locked the end.
            entries: the rows.
            head: the new head.
            new: whether there is no head yet.
        """
        connection.execute(insert(self._table), [asdict(entry) for entry in entries])
        if new:
            connection.execute(insert(self._head).values(id=1, **asdict(head)))
        else:
            connection.execute(update(self._head).where(self._head.c.id == 1).values(**asdict(head)))

    def end(self) -> tuple[AuditHead | None, int]:
        """Return the head, and how many rows have a number past its."""
        seq = self._table.c.seq
        beyond = select(func.count()).select_from(self._table).where(seq > self._head.c.seq)

        def work(connection: Connection) -> tuple[AuditHead | None, int]:
            # One statement: other processes append meanwhile.
            end = self._select_head(beyond.scalar_subquery())
            row, rows = connection.execute(end).first(), 0
            if row is None:
                rows = connection.execute(select(func.count()).select_from(self._table)).scalar_one()
            if rows:  # the first were appended since, with the head, or the head was removed
                row = connection.execute(end).first()
            return (None, rows) if row is None else (_head(row), int(row[-1]))

        return self._database.run(work)

    def epochs(self) -> dict[str, int]:
        """Return by tenant how often its keys have changed; -1 where the database does not hold a number."""
        rows = self._fetch(select(self._tenants.c.tenant, self._tenants.c.epoch))
        found = [tuple[Any, ...](row) for row in rows]
        return {str(tenant): epoch if isinstance(epoch, int) else -1 for tenant, epoch in found}

    def newest(self, tenant: str | None, last: int | None, after: int = 0) -> list[AuditEntry]:
        """Return the last rows, oldest first.

        Args:
            tenant: only this tenant's rows; ``None`` for every tenant's.
            last: only so many; ``None`` for all.
            after: only rows after the one of this number.
        """
        statement = select(self._table).order_by(self._table.c.seq.desc()).limit(last)
        if after:
            statement = statement.where(self._table.c.seq > after)
        if tenant is not None:
            statement = statement.where(self._table.c.tenant == tenant)
        return self._read(statement)[::-1]

    def row(self, seq: int) -> AuditEntry | None:
        """Return the row of a number; ``None`` if there is none."""
        found = self._read(select(self._table).where(self._table.c.seq == seq))
        return found[0] if found else None

    def of_kind(self, tenant: str, kind: EventKind) -> list[AuditEntry]:
        """Return a tenant's rows of one kind, oldest first."""
        t = self._table.c
        return self._read(select(self._table).where(t.tenant == tenant, t.event == kind).order_by(t.seq))

    def known(self, tenants: Collection[str]) -> set[str]:
        """Return those of some tenants of which a DEK was ever made."""
        made = self._table.c.event.in_([EventKind.WRAP, EventKind.ROTATE])
        found: set[str] = set()
        for names in in_parts(tenants, PAGE):
            statement = select(self._table.c.tenant).distinct().where(self._table.c.tenant.in_(names), made)
            found |= {row[0] for row in self._fetch(statement)}
        return found

    def up_to(self, end: int) -> Iterator[AuditEntry]:
        """Read the rows up to a head that was read before, page by page; other processes append meanwhile."""
        yield from self._pages(self._table.c.seq <= end)

    def after(self, seq: int) -> Iterator[AuditEntry]:
        """Read the rows after one, page by page, as far as they are asked for."""
        yield from self._pages(self._table.c.seq > seq)

    def _pages(self, which: ColumnElement[bool]) -> Iterator[AuditEntry]:
        seq = self._table.c.seq
        page = select(self._table).where(which).order_by(seq).limit(PAGE)
        rows = self._read(page)
        while rows:
            yield from rows
            rows = self._read(page.where(seq > rows[-1].seq)) if len(rows) == PAGE else []

    def _select_head(self, *more: Any) -> Select[Any]:
        head = self._head.c
        return select(head.seq, head.hash, head.key_id, head.mac, *more).where(head.id == 1)

    def _read(self, statement: Select[Any]) -> list[AuditEntry]:
        return [AuditEntry(*tuple[Any, ...](row)) for row in self._fetch(statement)]

    def _fetch(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        try:
            return self._database.run(lambda connection: connection.execute(statement).all())
        except UnicodeDecodeError:
            # Its message quotes the bytes.
            problem = "the audit trail or the tenants table holds bytes that are not text: they were altered"
        raise TamperedError(problem)


def _head(row: Row[Any]) -> AuditHead:
    # What is no such number, as SQLite stores it anywhere, matches no row and no MAC.
    seq, hash_, key_id, mac, *_ = tuple[Any, ...](row)
    possible = isinstance(seq, int) and 0 <= seq < NO_ROOM
    return AuditHead(seq if possible else 0, str(hash_), str(key_id), str(mac))
