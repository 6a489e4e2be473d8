"""MariaDB's ``UPDATE ... JOIN (VALUES ...)``, for which SQLAlchemy has no construct: a batch as a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, String
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.batch_update import BatchUpdate, Values, Write, row_by_row
from sqlalchemy_cmk.databases.quoting import unused

# MariaDB cuts a literal of bytes in VALUES down to its length modulo 65,536.
_MAX_IN_VALUES = 16_000


def writer(update: BatchUpdate, connection: Connection, seconds: int) -> Write:
    """Return the writer.

    Args:
        update: the update; its new values are bytes.
        connection: to the database.
        seconds: how long a statement may take.
    """
    dialect = connection.dialect
    quote = dialect.identifier_preparer
    table, names = quote.format_table(update.table), list(update.parameters)
    new_rows = unused("cmk_new", [update.table.name])
    collations = _collations(update, connection)

    def given(kind: str, number: int) -> str:
        return f"{new_rows}.{update.named(kind, number)}"

    same_row = [
        f"{table}.{quote.quote(one.name)} = {collations.get(one.name, '{}').format(given('k', i))}"
        for i, one in enumerate(update.key)
    ]
    unchanged = [
        f"({guard.compile(dialect=dialect)}) <=> {given('o', i)}" for i, guard in enumerate(update.guards)
    ]
    assigned = []
    for i, column in enumerate(update.targets):
        target = f"{table}.{quote.quote(column.name)}"
        new = given("n", i) if update.overwrites else f"coalesce({target}, {given('n', i)})"
        assigned.append(f"{target} = {new}")
    row = "(" + ", ".join(["%s"] * len(names)) + ")"
    head = f"SET STATEMENT max_statement_time = {seconds} FOR UPDATE {table} "
    head += f"JOIN (WITH cmk_rows({', '.join(names)}) AS (VALUES "
    criteria = " AND ".join([*same_row, *unchanged])
    tail = f") SELECT * FROM cmk_rows) {new_rows} ON {criteria} SET {', '.join(assigned)}"  # noqa: S608

    each = row_by_row(update)

    def write(connection: Connection, columns: Sequence[Values]) -> int:
        if any(_is_long(one) for column in columns for one in column):
            return each(connection, columns)
        values = tuple(chain.from_iterable(zip(*columns, strict=True)))
        statement = head + ", ".join([row] * len(columns[0])) + tail
        return connection.exec_driver_sql(statement, values).rowcount

    return write


def _is_long(value: Any) -> bool:
    return isinstance(value, bytes | memoryview | str) and len(value) > _MAX_IN_VALUES


def _collations(update: BatchUpdate, connection: Connection) -> dict[str, str]:
    """Return how a given text is brought to the collation of each key column, so that its index serves."""
    texts = [one.name for one in update.key if isinstance(one.type, String)]
    if not texts:
        return {}
    query = sql(
        "SELECT column_name, character_set_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = coalesce(:schema, database()) AND table_name = :table"
    )
    found = connection.execute(query, {"schema": update.table.schema, "table": update.table.name}).all()
    connection.rollback()
    return {
        name: f"CONVERT({{}} USING {charset}) COLLATE {collation}"
        for name, charset, collation in found
        if name in texts and charset
    }
