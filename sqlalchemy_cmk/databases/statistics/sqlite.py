"""SQLite: rows that an index finds are counted, up to a bound; else what ``ANALYZE`` has noted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.statistics.base import (
    SMALL,
    UNKNOWN,
    Amount,
    Explain,
    Known,
    Statistics,
    counted,
)

# Rows that are counted by an index: a fraction of a second.
BOUND = 100_000

_SIZE = sql("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
_HAS_STATISTICS = sql("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'")
_STATISTICS = sql("SELECT stat FROM sqlite_stat1 WHERE tbl = :name")


class SQLiteStatistics(Statistics):
    """What SQLite knows."""

    def amounts(self, connection: Connection, table: Table, query: Select[Any]) -> list[Amount]:
        """Return a count, where it is quick, or the rows of the table as ``ANALYZE`` has counted them."""
        if self.is_small(connection, table):
            return counted(connection, query)
        plan = connection.execute(Explain("EXPLAIN QUERY PLAN", query)).all()
        if not any(str(step[-1]).startswith("SCAN") for step in plan):
            found = counted(connection, query.limit(BOUND))
            if found[0].rows != BOUND:
                return found
        rows = _noted(connection, table)
        amount = UNKNOWN if rows is None else Amount(rows, Known.AT_MOST)
        return [amount] * (1 + len(query.selected_columns))

    def is_small(self, connection: Connection, table: Table) -> bool:
        """Return whether the whole database is."""
        pages, size = (
            connection.exec_driver_sql(f"PRAGMA {one}").scalar() for one in ("page_count", "page_size")
        )
        return int(pages or 0) * int(size or 0) < SMALL


def _noted(connection: Connection, table: Table) -> int | None:
    if not connection.execute(_HAS_STATISTICS).scalar():
        return None
    found = connection.execute(_STATISTICS, {"name": table.name}).scalars()
    numbers = [str(one).split(" ")[0] for one in found]
    return max((int(one) for one in numbers if one.isdecimal()), default=None)
