"""PostgreSQL: row level security, views and foreign tables, standbys, detached partitions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import Connection, FromClause, Table, func, tablesample
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.quoting import Quoting, verbatim
from sqlalchemy_cmk.databases.visibility.base import Visibility, setting
from sqlalchemy_cmk.databases.visibility.stored import StoredTable

# https://www.postgresql.org/docs/current/catalog-pg-class.html, relkind
_NO_TABLES = {"v": "is a view", "m": "is a materialized view", "f": "is a foreign table"}

# inhdetachpending came with version 14.
_KIND = sql(
    "SELECT c.relkind::text, c.relpersistence::text, row_security_active(c.oid), pg_is_in_recovery(), "
    "EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = c.oid "
    "AND to_jsonb(i)->>'inhdetachpending' = 'true') "
    "FROM pg_class c WHERE c.oid = to_regclass(:name)"
)
_IDENTITY = sql(
    "SELECT d.oid::bigint, to_regclass(:name)::oid::bigint, pg_postmaster_start_time()::text "
    "FROM pg_database d WHERE d.datname = current_database()"
)
# The table and all that inherits from it, its partitions too. Statistics that were reset say 0, and a table
# that was never analyzed says -1: then its pages count as one row.
_LEAVES = (
    "WITH RECURSIVE leaves AS (SELECT to_regclass(:name)::oid AS oid UNION "
    "SELECT i.inhrelid FROM pg_inherits i JOIN leaves l ON i.inhparent = l.oid) "
)
_ESTIMATE = sql(
    _LEAVES + "SELECT coalesce(sum(greatest(c.reltuples, s.n_live_tup, "
    "CASE WHEN c.reltuples < 0 AND pg_relation_size(c.oid) > 0 THEN 1 ELSE 0 END)), 0)::bigint "
    "FROM leaves l JOIN pg_class c ON c.oid = l.oid LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid "
    "WHERE c.relkind = 'r'"
)
_NAMES = sql(
    _LEAVES + "SELECT l.oid::regclass::text FROM leaves l JOIN pg_class c ON c.oid = l.oid "  # noqa: S608
    "WHERE c.relkind = 'r'"
)

# Bytes, and what is shown as text and may have bytes in it: strings, JSON and other types of their own,
# composite types, and arrays of these. A domain is what it is over.
_TABLES = sql(
    "SELECT n.nspname::text, c.relname::text, pg_table_is_visible(c.oid), "
    "coalesce(array_agg(a.attname::text) FILTER (WHERE base.typname = 'bytea'), '{}'), "
    "coalesce(array_agg(a.attname::text) FILTER (WHERE base.typname <> 'bytea'), '{}'), "
    "pg_table_size(c.oid), c.relkind <> 'f' "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "JOIN pg_type t ON t.oid = a.atttypid "
    "JOIN pg_type base ON base.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END "
    "LEFT JOIN pg_type item ON item.oid = base.typelem "
    "WHERE c.relkind IN ('r', 'm', 'f') AND n.nspname <> 'information_schema' "
    r"AND n.nspname NOT LIKE 'pg\_%' AND base.typname NOT IN ('uuid', 'tsvector', 'tsquery') "
    "AND (base.typcategory IN ('S', 'U', 'C') OR (base.typcategory = 'A' AND item.typcategory IN "
    "('S', 'U', 'C') AND item.typname <> 'uuid')) GROUP BY c.oid, n.nspname, c.relname, c.relkind"
)
_FAMILY = sql(
    _LEAVES + "SELECT n.nspname::text, c.relname::text FROM leaves l JOIN pg_class c ON c.oid = l.oid "  # noqa: S608
    "JOIN pg_namespace n ON n.oid = c.relnamespace"
)
# ALTER TABLE may rewrite a table, which is empty to an older snapshot then:
# https://www.postgresql.org/docs/current/mvcc-caveats.html. The function knows today's file, whatever the
# snapshot.
_NEWER = sql(
    "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'm') AND c.relfilenode <> 0 "
    "AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)"
)
# A prepared transaction has no process; which database another one writes to is known by its process.
_WRITING = sql(
    "SELECT l.transactionid::text FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted "
    "AND (l.pid IS NULL OR a.datname = current_database()) AND l.pid IS DISTINCT FROM pg_backend_pid()"
)


class PostgreSQLVisibility(Visibility):
    """What a connection to PostgreSQL sees."""

    # For the transaction alone: a pooler may give the session to somebody else. From then on a query whose
    # rows a policy would filter fails: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
    see_all: ClassVar[str] = "SET LOCAL row_security = off"

    @contextmanager
    def of_session(self, connection: Connection) -> Iterator[None]:
        """Set ``row_security`` off."""
        with setting(connection, "row_security", "off"):
            yield

    def hidden(self, connection: Connection, table: Table) -> str:
        """Return whether it has policies, is no table, is on a standby, or loses a partition."""
        found = connection.execute(_KIND, {"name": _name(connection, table)}).one_or_none()
        if found is None:
            return ""
        kind, persistence, filtered, standby, detaching = found
        if kind in _NO_TABLES:
            return f"{_NO_TABLES[kind]}, which shows what is in other tables: name those"
        if persistence == "t":
            return "is a temporary table of this connection, in front of the table of that name"
        if filtered:
            return (
                "has row level security, whose policies hide rows from this role: connect as a role with "
                "BYPASSRLS, or as the table's owner without FORCE ROW LEVEL SECURITY"
            )
        if standby:
            return "is read from a standby, which may lack rows: connect to the primary server"
        if detaching:
            return "has a partition that is being detached: run ALTER TABLE ... DETACH PARTITION ... FINALIZE"
        return ""

    def identity(self, connection: Connection, table: Table) -> Any:
        """Return the object identifiers of the database and the table, and when the server was started."""
        return tuple(connection.execute(_IDENTITY, {"name": _name(connection, table)}).one())

    def estimate(self, connection: Connection, table: Table) -> int:
        """Return the larger one of what the planner and the cumulative statistics say."""
        return int(connection.execute(_ESTIMATE, {"name": _name(connection, table)}).scalar_one())

    def refresh(self, connection: Connection, table: Table) -> None:
        """Analyze the table, which samples its pages whatever policies there are."""
        # Only its owner may; for others it is a warning.
        for name in connection.execute(_NAMES, {"name": _name(connection, table)}).scalars().all():
            connection.execute(verbatim(f"ANALYZE {name}"))

    def tables(self, connection: Connection, names: Collection[str]) -> list[StoredTable]:
        """Return the tables, materialized views and foreign tables of every schema."""
        found = connection.execute(_TABLES).all()
        return [
            StoredTable(schema, name, visible, tuple(stored), tuple(shown), size, is_sampled)
            for schema, name, visible, stored, shown, size, is_sampled in found
        ]

    def family(self, connection: Connection, table: Table) -> set[tuple[str, str]]:
        """Return the table, its partitions, and what inherits from it."""
        found = connection.execute(_FAMILY, {"name": _name(connection, table)})
        return {(schema, name) for schema, name in found}

    def writing(self, connection: Connection) -> set[Any]:
        """Return the transactions that have written to this database, prepared ones too."""
        return set(connection.execute(_WRITING).scalars())

    def newer_than_snapshot(self, connection: Connection) -> list[str]:
        """Return the tables that have another file by now."""
        return list(connection.execute(_NEWER).scalars())

    def sample(self, table: Table, stored: StoredTable, rows: int) -> FromClause:
        """Return pages at random."""
        if not stored.is_sampled:
            return super().sample(table, stored, rows)
        # A row takes a hundred bytes or more.
        percent = min(100.0, 100.0 * 100 * rows / max(1, stored.size))
        return tablesample(table, func.system(percent))


def _name(connection: Connection, table: Table) -> str:
    return Quoting(connection.dialect).table(table.name, table.schema)
