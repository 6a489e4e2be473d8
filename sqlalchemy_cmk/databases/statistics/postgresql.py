"""PostgreSQL: what the planner expects of a query, and the times of ``pg_stat_all_tables``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.databases.statistics.base import (
    SMALL,
    UNKNOWN,
    Activity,
    Amount,
    Explain,
    Known,
    Statistics,
    counted,
)

_TABLE = sql(
    "SELECT relkind::text, reltuples, pg_relation_size(oid) FROM pg_class WHERE oid = to_regclass(:name)"
)
# As JSON, since last_seq_scan and last_idx_scan came with PostgreSQL 16.
_USES = sql("SELECT to_jsonb(s) FROM pg_stat_all_tables s WHERE relid = to_regclass(:name)")


class PostgreSQLStatistics(Statistics):
    """What PostgreSQL's planner knows."""

    def amounts(self, connection: Connection, table: Table, query: Select[Any]) -> list[Amount]:
        """Return the planner's expectations: most common values, and the number of different ones."""
        found = connection.execute(_TABLE, _named(connection, table)).one_or_none()
        if found is not None and found[0] == "r":  # others are partitioned, or views
            if found[2] < SMALL:
                return counted(connection, query)
            if found[1] < 0:
                return [UNKNOWN] * (1 + len(query.selected_columns))
        columns: Iterable[Any] = query.selected_columns
        queries = [query, *(query.where(one.element.is_not(None)) for one in columns)]
        return [Amount(_expected(connection, one), Known.ESTIMATED) for one in queries]

    def activity(self, connection: Connection, table: Table) -> Activity:
        """Return the last scan; PostgreSQL notes no time of a write."""
        uses = _decoded(connection.execute(_USES, _named(connection, table)).scalar()) or {}
        times = [uses.get("last_seq_scan"), uses.get("last_idx_scan")]
        return Activity(read_at=max((datetime.fromisoformat(one) for one in times if one), default=None))


def _expected(connection: Connection, query: Select[Any]) -> int:
    plan = _decoded(connection.execute(Explain("EXPLAIN (FORMAT JSON)", query)).scalar())
    return int(plan[0]["Plan"]["Plan Rows"])


def _decoded(found: Any) -> Any:
    return json.loads(found) if isinstance(found, str) else found


def _named(connection: Connection, table: Table) -> dict[str, str]:
    return {"name": Quoting(connection.dialect).table(table.name, table.schema)}
