"""MariaDB and MySQL: views, engines that keep rows elsewhere, history of rows, replicas, cut results."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from random import uniform
from secrets import token_hex
from typing import Any, ClassVar

from sqlalchemy import Connection, Table, bindparam
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases.visibility.base import Visibility
from sqlalchemy_cmk.databases.visibility.stored import StoredTable
from sqlalchemy_cmk.errors import KeyUnavailable

_NO_TABLES = {"VIEW": "a view", "SYSTEM VIEW": "a view", "SEQUENCE": "a sequence"}
_ELSEWHERE = {"BLACKHOLE", "CONNECT", "FEDERATED", "MRG_MYISAM", "SPHINX", "SPIDER"}
# The default of sql_select_limit: none.
_UNLIMITED = 2**64 - 1

_KIND = sql(
    "SELECT table_type, engine, @@GLOBAL.read_only, @@SESSION.sql_select_limit "
    "FROM information_schema.tables WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
)
_ESTIMATE = sql(
    "SELECT table_rows FROM information_schema.tables "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
)

_COLUMNS = sql(
    "SELECT t.table_schema, t.table_name, t.table_schema = database(), c.column_name, "
    "c.data_type IN ('binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob'), "
    "coalesce(t.data_length, 0) FROM information_schema.tables t JOIN information_schema.columns c "
    "ON c.table_schema = t.table_schema AND c.table_name = t.table_name "
    "WHERE t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND c.data_type IN ('binary', 'varbinary', "
    "'tinyblob', 'blob', 'mediumblob', 'longblob', 'char', 'varchar', 'tinytext', 'text', 'mediumtext', "
    "'longtext', 'json') AND (t.table_schema = database() OR (t.table_name IN :names AND t.table_schema "
    "NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')))"
).bindparams(bindparam("names", expanding=True))
_GRANT = re.compile(r"GRANT (?P<privileges>[A-Z, ]+) ON (?P<database>\*|`(?:[^`]|``)+`)\.\* TO ")
_READING = frozenset(("SELECT", "ALL PRIVILEGES"))
_WILD = {"_": ".", "%": ".*"}
# The first words tell one look from every other.
_TRANSACTIONS = (
    "SELECT /* {look} */ t.trx_id, t.trx_mysql_thread_id = connection_id(), t.trx_query, "
    "t.trx_rows_modified > 0 AND (p.id IS NULL OR p.db = database()) "
    "FROM information_schema.innodb_trx t "
    "LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id"
)
# InnoDB keeps the list for everybody, and makes it again where nobody has read it for a tenth of a second:
# trx_i_s_possibly_fetch_data_into_cache in storage/innobase/trx/trx0i_s.cc.
_UNTIL_NEW, _LOOKS = 0.12, 30


class MariaDBVisibility(Visibility):
    """What a connection to MariaDB sees. There are no policies: without a privilege a statement fails."""

    # InnoDB estimates from a few pages, and counts rows that were deleted and not purged.
    rough: ClassVar[int] = 4
    least: ClassVar[int] = 1000

    def hidden(self, connection: Connection, table: Table) -> str:
        """Return whether it is no table, has history, is read from a replica, or results are cut off."""
        found = connection.execute(_KIND, _named(table)).one_or_none()
        if found is None:
            return ""
        kind, engine, read_only, limit = found
        if kind in _NO_TABLES:
            return f"is {_NO_TABLES[kind]}, which shows what is in other tables: name those"
        if kind == "SYSTEM VERSIONED":
            return (
                "is system-versioned, and no count sees the old versions of its rows: delete its history "
                "and drop the versioning first"
            )
        if (engine or "").upper() in _ELSEWHERE:
            return f"keeps no rows of its own, since its engine is {engine}: name the table that has them"
        if str(read_only) not in ("0", "OFF"):
            return "is read from a server that is read_only, a replica perhaps, which may lack rows"
        if int(limit) < _UNLIMITED:
            return f"is read with sql_select_limit = {limit}, which cuts results off: unset it"
        if _is_temporary(connection, table):
            return "is a temporary table of this connection, in front of the table of that name"
        return ""

    def identity(self, connection: Connection, table: Table) -> Any:
        """Return the server's name and port, and the database's."""
        query = sql("SELECT @@hostname, @@port, coalesce(:schema, database())")
        return tuple(connection.execute(query, {"schema": table.schema}).one())

    def estimate(self, connection: Connection, table: Table) -> int:
        """Return InnoDB's estimate."""
        return int(connection.execute(_ESTIMATE, _named(table)).scalar() or 0)

    def refresh(self, connection: Connection, table: Table) -> None:
        """Analyze the table, where the account may; this commits."""
        connection.exec_driver_sql(f"ANALYZE NO_WRITE_TO_BINLOG TABLE {_quoted(connection, table)}").all()

    def tables(self, connection: Connection, names: Collection[str]) -> list[StoredTable]:
        """Return the tables of this database, and those of the same names in others on the server."""
        found: dict[tuple[str, str], list[Any]] = {}
        for row in connection.execute(_COLUMNS, {"names": list(names)}):
            found.setdefault((row[0], row[1]), []).append(row)
        return [
            StoredTable(
                schema,
                name,
                bool(rows[0][2]),
                tuple(row[3] for row in rows if row[4]),
                tuple(row[3] for row in rows if not row[4]),
                int(rows[0][5]),
            )
            for (schema, name), rows in found.items()
        ]

    def unlisted(self, connection: Connection) -> dict[str, str]:
        """Return the database unless the account, or its role, may read all of it."""
        name = str(connection.exec_driver_sql("SELECT database()").scalar_one())
        if any(_reads_all(grant, name) for grant in connection.exec_driver_sql("SHOW GRANTS").scalars()):
            return {}
        why = f"tables for which the account has no privilege are not listed: GRANT SELECT ON `{name}`.*"
        return {f"{name}.*": why}

    def family(self, connection: Connection, table: Table) -> set[tuple[str, str]]:
        """Return the table."""
        return {
            (table.schema or str(connection.exec_driver_sql("SELECT database()").scalar_one()), table.name)
        }

    def writing(self, connection: Connection) -> set[Any]:
        """Return InnoDB's transactions of sessions in this database, where the account has PROCESS.

        Raises:
            KeyUnavailable: the list is that of an earlier moment, since others read it all the time.
        """
        for number in range(_LOOKS):
            look = token_hex(8)
            try:
                # The session is in the list with its statement, if the list was made for this look.
                connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
                found = connection.exec_driver_sql(_TRANSACTIONS.format(look=look)).all()
            except DBAPIError:
                return set()
            if any(own and look in (query or "") for _, own, query, _ in found):
                return {number for number, own, _, writes in found if writes and not own}
            # Not as regularly as others that wait for a new list.
            time.sleep(uniform(_UNTIL_NEW, _UNTIL_NEW * 2 ** min(number, 4)))  # noqa: S311
        raise KeyUnavailable(
            "it cannot be told which transactions are writing: something reads information_schema.innodb_trx "
            "several times a second; stop it, and try again"
        )


def _reads_all(grant: str, database: str) -> bool:
    """Return whether a line of SHOW GRANTS lets the account read every table of a database."""
    found = _GRANT.match(grant)
    if found is None or not _READING.intersection(found["privileges"].split(", ")):
        return False
    # https://mariadb.com/kb/en/grant/#database-privileges: a name is a pattern, as for LIKE.
    parts = re.findall(r"\\.|.", found["database"][1:-1].replace("``", "`"), flags=re.DOTALL)
    pattern = (_WILD.get(part, re.escape(part[-1])) for part in parts)
    return found["database"] == "*" or re.fullmatch("".join(pattern), database, re.DOTALL) is not None


def _named(table: Table) -> dict[str, Any]:
    return {"schema": table.schema, "name": table.name}


def _is_temporary(connection: Connection, table: Table) -> bool:
    made = str(connection.exec_driver_sql(f"SHOW CREATE TABLE {_quoted(connection, table)}").one()[1])
    return made.startswith("CREATE TEMPORARY")


def _quoted(connection: Connection, table: Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)
