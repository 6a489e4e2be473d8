"""psycopg's COPY into a protected table: rows are sealed on their way. See :class:`SealingCopy`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, Self

from sqlalchemy import Connection

from sqlalchemy_cmk.columns.index_catalogues import look_at_indexes
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.dbapi.inserting import seal_rows
from sqlalchemy_cmk.dbapi.stored import all_stored
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.row_columns import seal_columns, writes_values_only
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant
from sqlalchemy_cmk.sql import Inserted
from sqlalchemy_cmk.sql.schema import sealed_of

_COPY = re.compile(
    r"\s*COPY\s+(?P<table>[^\s(]+)\s*\((?P<columns>[^()]+)\)\s+FROM\s+STDIN[\s;]*", re.IGNORECASE
)
# Rows that are sealed together: with more the server waits meanwhile, with fewer a tenant's rows cost more.
AT_ONCE = 1000

_COPY_TO = re.compile(r"\bTO\s+(?:STDOUT|PROGRAM|')", re.IGNORECASE)


def insert_like(statement: str) -> str:
    """Return the INSERT of the rows that a COPY writes.

    Raises:
        UnsupportedOperation: it is not of the form ``COPY table (columns) FROM STDIN``.
    """
    found = _COPY.fullmatch(statement)
    if found is None and _COPY_TO.search(statement) is not None:
        raise UnsupportedOperation(
            "COPY of a table that has sealed columns elsewhere: it would send the stored bytes: execute the "
            "SELECT with a cursor that has a name, and fetch its rows by fetchmany()"
        )
    if found is None:
        raise UnsupportedOperation(
            "COPY with a table that has sealed columns: write COPY table (columns) FROM STDIN"
        )
    marks = ", ".join(["%s"] * (found["columns"].count(",") + 1))
    return f"INSERT INTO {found['table']} ({found['columns']}) VALUES ({marks})"  # noqa: S608


class SealingCopy:
    """Writes rows by COPY, sealed in batches. Used as psycopg's own: ``with cursor.copy(...) as copy``.

    Args:
        cursor: the driver's cursor.
        connection: SQLAlchemy's connection over the same one.
        inserted: the INSERT of the same rows.
        statement: the COPY.
    """

    def __init__(self, cursor: Any, connection: Connection, inserted: Inserted, statement: str) -> None:
        source = tenant_source(inserted.table)
        if source is not None and source.table is not inserted.table:
            raise UnsupportedOperation(
                f"COPY into {inserted.table.fullname}: whose rows they are stands in "
                f"{source.table.fullname}, which cannot be read meanwhile: insert them"
            )
        self._cursor = cursor
        self._connection = connection
        self._keys = [str(one.key) for one in inserted.columns]
        self._sealed = [(at, one) for at, one in enumerate(inserted.columns) if sealed_of(one) is not None]
        self._inserted = inserted
        self._statement = statement
        self._stack = ExitStack()
        self._copy: Any = None
        self._hidden: list[str] = []
        self._writer = RowWriter(inserted.table, connection)
        self._rows: list[Sequence[Any]] = []

    def write_row(self, row: Sequence[Any]) -> None:
        """Write a row: a value for each column that the COPY lists.

        Raises:
            CmkError: as an INSERT of the row; rows before it may have been sent, and none is there after the
                transaction was rolled back.
        """
        self._rows.append(row)
        if len(self._rows) >= AT_ONCE:
            self._send()

    def write(self, *_: object) -> NoReturn:
        """Refuse: what is written so could not be sealed.

        Raises:
            UnsupportedOperation: always.
        """
        raise UnsupportedOperation("write() of a COPY with sealed columns: write rows by write_row()")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> Any:
        if raised[0] is not None:
            self._rows.clear()
            return self._stack.__exit__(*raised)
        with self._stack:  # an error here takes back what was sent
            if self._rows:
                self._send()
        return None

    def _send(self) -> None:
        batch, self._rows = self._rows, []
        if set(map(len, batch)) != {len(self._keys)}:
            raise UnsupportedOperation("a row of a COPY has another number of values than columns")
        look_at_indexes(self._connection)
        try:
            rows = self._by_columns(batch) if writes_values_only(self._writer) else self._by_rows(batch)
        finally:
            self._writer.let_go()  # a COPY may take hours
        if self._copy is None:
            self._copy = self._stack.enter_context(self._cursor.copy(self._with_hidden()))
        write_row = self._copy.write_row
        for row in rows:
            write_row(row)

    def _by_columns(self, batch: Sequence[Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
        """Return rows sealed whose values are all that they write."""
        columns: list[Sequence[Any]] = list(zip(*batch, strict=True))
        values = {str(one.key): columns[at] for at, one in self._sealed}
        tenants = self._tenants(columns, len(batch))
        if tenants is None:
            return self._by_rows(batch)
        sealed = seal_columns(self._writer, values, tenants)
        for at, one in self._sealed:
            columns[at] = all_stored(one, sealed[str(one.key)], self._connection.dialect)
        return zip(*columns, strict=True)

    def _tenants(self, columns: Sequence[Sequence[Any]], count: int) -> Sequence[str] | None:
        """Return the tenant of each row; ``None`` if a row has to be looked at by itself."""
        source = tenant_source(self._inserted.table)
        if source is None or not any(one.is_tenants for one in self._writer.columns.values()):
            return [PLATFORM_TENANT] * count
        if source.column not in self._inserted.columns:
            return None
        held = columns[self._inserted.columns.index(source.column)]
        if set(map(type, held)) != {str}:
            return None
        where = self._inserted.table.fullname
        names = {one: agreed_tenant(source.name(one), where) for one in dict.fromkeys(held)}
        return list(map(names.__getitem__, held))

    def _by_rows(self, batch: Sequence[Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
        """Return rows sealed, with the tokens that are written beside their values."""
        table, dialect = self._inserted.table, self._connection.dialect
        rows = [dict(zip(self._keys, row, strict=True)) for row in batch]
        self._writer = RowWriter(table, self._connection)  # an index may have changed meanwhile
        hidden = seal_rows(self._connection, self._inserted, rows, self._writer)
        if self._copy is None:
            self._hidden = hidden
        elif hidden != self._hidden:
            raise UnsupportedOperation("a search index has changed meanwhile: copy the rows again")
        for column in (*(one for _, one in self._sealed), *(table.c[one] for one in hidden)):
            key = str(column.key)
            for row, value in zip(rows, all_stored(column, [one[key] for one in rows], dialect), strict=True):
                row[key] = value
        return [tuple(row[key] for key in (*self._keys, *hidden)) for row in rows]

    def _with_hidden(self) -> str:
        quoting = Quoting(self._connection.dialect)
        names = "".join(f", {quoting.name(str(self._inserted.table.c[key].name))}" for key in self._hidden)
        at = self._statement.index(")")
        return self._statement[:at] + names + self._statement[at:]
