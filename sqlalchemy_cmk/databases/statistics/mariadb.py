"""MariaDB and MySQL: what the optimizer expects of a query, and ``information_schema.tables``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.statistics.base import (
    SMALL,
    Activity,
    Amount,
    Explain,
    Known,
    Statistics,
    counted,
)
from sqlalchemy_cmk.runtime.clock import as_utc

_TABLE = sql(
    "SELECT data_length, CONVERT_TZ(update_time, @@session.time_zone, '+00:00') "
    "FROM information_schema.tables "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
)


class MariaDBStatistics(Statistics):
    """What MariaDB's optimizer knows."""

    analyze = "ANALYZE TABLE ... PERSISTENT FOR ALL"

    def amounts(self, connection: Connection, table: Table, query: Select[Any]) -> list[Amount]:
        """Return what it expects of an index, or a histogram, of the tenant column."""
        size = connection.execute(_TABLE, _named(table)).one_or_none()
        if size is not None and (size[0] or 0) < SMALL:
            return counted(connection, query)
        rows, known = 1.0, Known.ESTIMATED
        for step in connection.execute(Explain(_explain(connection), query)).mappings():
            share = float(step.get("filtered") or 100)
            rows *= float(step["rows"] or 0) * share / 100
            if step["type"] in ("ALL", "index") and share == 100:
                known = Known.AT_MOST
        # It does not know how many values are NULL.
        values = Amount(round(rows), Known.AT_MOST)
        return [Amount(round(rows), known), *[values] * len(query.selected_columns)]

    def activity(self, connection: Connection, table: Table) -> Activity:
        """Return the last write since the server was started; it notes no reads."""
        found = connection.execute(_TABLE, _named(table)).one_or_none()
        return Activity(written_at=found[1] and as_utc(found[1]) if found is not None else None)


def _explain(connection: Connection) -> str:
    dialect: Any = connection.dialect
    return "EXPLAIN EXTENDED" if dialect.is_mariadb else "EXPLAIN"


def _named(table: Table) -> dict[str, str | None]:
    return {"name": table.name, "schema": table.schema}
