"""MariaDB and MySQL: times of more than a day, zero dates, ENUM and SET, the binary log, FULLTEXT."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import Column, Connection, Date, DateTime, Enum, Float, Table, Time, func, literal_column, or_
from sqlalchemy import text as sql
from sqlalchemy.dialects.mysql import SET

from sqlalchemy_cmk.databases.surroundings.base import OWN_TRIGGERS, Surroundings, has_row

_TRIGGERS = sql(
    "SELECT trigger_name FROM information_schema.triggers WHERE event_manipulation = 'UPDATE' "
    "AND event_object_schema = coalesce(:schema, database()) AND event_object_table = :name "
    "ORDER BY trigger_name"
)
_FULLTEXT = sql(
    "SELECT DISTINCT index_name FROM information_schema.statistics WHERE index_type = 'FULLTEXT' "
    "AND table_schema = coalesce(:schema, database()) AND table_name = :name"
)
_BINARY_LOG = sql("SELECT @@log_bin, @@SESSION.binlog_format")


class MariaDBSurroundings(Surroundings):
    """What MariaDB has around a table."""

    # An ENUM is sorted by its members' numbers, and compared by their names.
    odd_key_types: ClassVar[tuple[type[Any], ...]] = (Float, Enum, SET)

    def obstacle(self, connection: Connection, table: Table, column: str, made: str) -> str:
        """Return whether the binary log refuses what the engine writes."""
        log, kind = connection.execute(_BINARY_LOG).one()
        if int(log) and kind == "STATEMENT":
            return (
                "is on a server whose binlog_format is STATEMENT, which takes no writes at READ COMMITTED: "
                "set binlog_format to MIXED or ROW first"
            )
        return ""

    def triggers(self, connection: Connection, table: Table) -> list[str]:
        """Return the triggers of UPDATE."""
        found = connection.execute(_TRIGGERS, _named(table)).scalars()
        return [one for one in found if not one.startswith(OWN_TRIGGERS)]

    def copies(self, connection: Connection, table: Table) -> list[str]:
        """Return the triggers, FULLTEXT indexes, and the binary log."""
        sentences = super().copies(connection, table)
        sentences += [
            f"The FULLTEXT index {name} keeps words in tables of its own: drop it, and make it again if "
            "it is still needed."
            for name in connection.execute(_FULLTEXT, _named(table)).scalars()
        ]
        if int(connection.execute(_BINARY_LOG).one()[0]):
            sentences.append(
                "The binary log is on: it holds every row that is rewritten, with its plain value, and so do "
                "the servers that replicate it."
            )
        return sentences

    def _odd_values(self, connection: Connection, table: Table, column: Column[Any]) -> str:
        """Return times that are no time of day, and dates without a month or day."""
        if isinstance(column.type, Time):
            first: Any = literal_column("'00:00:00'")
            last: Any = literal_column("'24:00:00'")
            odd = has_row(connection, table, or_(column < first, column >= last))
            return "times below zero or of 24 hours and more" if odd else ""
        if isinstance(column.type, Date | DateTime):
            odd = has_row(connection, table, or_(func.month(column) == 0, func.dayofmonth(column) == 0))
            return "dates without a month or day" if odd else ""
        return ""


def _named(table: Table) -> dict[str, str | None]:
    return {"name": table.name, "schema": table.schema}
