"""SQLite: an FTS5 index over the tokens as text, kept by triggers; a side table where that cannot be.

Only tokens in hexadecimal are in it. It has no content of its own, so that names of tables and columns may
change: SQLite changes them in its triggers.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, Text, func, literal, select
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.databases.grams.base import (
    ASKED,
    EVENTS,
    GRAM_BYTES,
    GramNames,
    GramStorage,
    keys_of,
    quoted,
)
from sqlalchemy_cmk.databases.grams.side_table import GRAM, having_all, require_key
from sqlalchemy_cmk.databases.quoting import Quoting

# What follows the name of an FTS5 table in those of the tables that SQLite keeps for it.
FTS5_PARTS = ("data", "idx", "content", "docsize", "config")

_GRAMS = "grams"
_ROWID = "rowid"
# A text that no set has.
_NOTHING = "0"
_WIDTH = 2 * GRAM_BYTES + 1


class SQLiteGrams(GramStorage):
    """Tokens of 16 hexadecimal digits, with blanks between them."""

    @property
    def type(self) -> TypeEngine[Any]:
        """``TEXT``."""
        return Text()

    def bind(self, packed: bytes) -> str:
        """Return the tokens as a text, a question to FTS5 as well: for rows that have them all."""
        return packed.hex(" ", GRAM_BYTES)

    def matching(
        self, names: GramNames, hidden: ColumnElement[Any], asked: ColumnElement[Any], dialect: Dialect
    ) -> ColumnElement[bool]:
        """Return that FTS5 finds the row, or the side table does."""
        if not uses_fts5(names, dialect):
            each = [_nth(asked, n) for n in range(ASKED)]
            return having_all(names, hidden, [each[0], *(func.coalesce(one, each[0]) for one in each[1:])])
        found = names.made(_ROWID, names.storage)
        match = found.c[names.storage].bool_op("MATCH")(
            func.coalesce(asked, literal(_NOTHING, Text()), type_=NullType())
        )
        is_found: ColumnElement[bool] = keys_of(names, hidden)[0].in_(select(found.c[_ROWID]).where(match))
        return is_found

    def create(self, names: GramNames, dialect: Dialect, *, filled: bool = True) -> list[str]:
        """Return the statements that make the FTS5 table or the side table, its triggers and its content."""
        require_key(names)
        made = _fts5(names, dialect) if uses_fts5(names, dialect) else _side_table(names, dialect)
        return made if filled else made[:-1]

    def drop(self, names: GramNames, dialect: Dialect) -> list[str]:
        """Return the statements that drop the triggers and the table."""
        quoting = Quoting(dialect)
        triggers = [quoting.table(names.trigger(event), names.schema) for event in EVENTS]
        return [
            *(f"DROP TRIGGER IF EXISTS {one}" for one in triggers),
            f"DROP TABLE IF EXISTS {quoting.table(names.storage, names.schema)}",
        ]

    def is_complete(self, names: GramNames, connection: Connection) -> bool:
        """Return whether the triggers are there: a table that is copied and renamed has lost them."""
        dialect = connection.dialect
        quoting = Quoting(dialect)
        schema = f"{quoting.name(names.schema)}." if names.schema else ""
        triggers = [names.trigger(event) for event in EVENTS]
        virtual = "" if uses_fts5(names, dialect) else "NOT "
        query = f"FROM {schema}sqlite_master WHERE name"
        query = (
            f"SELECT (SELECT count(*) {query} IN (?, ?, ?) AND type = 'trigger' AND lower(tbl_name) = ?), "
            f"EXISTS (SELECT 1 {query} = ? AND sql {virtual}LIKE 'CREATE VIRTUAL %')"
        )
        # By the driver: the question it comes before takes a few microseconds.
        cursor = connection.connection.cursor()
        try:
            cursor.execute(query, (*triggers, names.table.name.lower(), names.storage))
            return tuple(cursor.fetchone() or ()) == (len(triggers), 1)
        finally:
            cursor.close()


@cache
def has_fts5() -> bool:
    """Return whether this process's SQLite was built with FTS5."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(grams)")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def uses_fts5(names: GramNames, dialect: Dialect) -> bool:
    """Return whether a table is searched by FTS5: its rows have numbers that VACUUM does not change."""
    keys = list(names.table.primary_key)
    if len(keys) != 1 or not names.table.dialect_options["sqlite"].get("with_rowid", True):
        return False
    return Quoting(dialect).compiled(keys[0].type).upper() == "INTEGER" and has_fts5()


def _nth(asked: ColumnElement[Any], n: int) -> ColumnElement[Any]:
    """Return one of the tokens of a set, NULL where it has fewer."""
    return func.nullif(func.substr(asked, 1 + _WIDTH * n, 2 * GRAM_BYTES), "", type_=NullType())


def _fts5(names: GramNames, dialect: Dialect) -> list[str]:
    """Return the statements for an FTS5 table; the last one takes over the rows that are there."""
    quoting = Quoting(dialect)
    grams, where = quoting.name(names.storage), quoting.table(names.storage, names.schema)
    key, column = quoting.name(names.keys[0]), quoting.name(names.column)
    remove = f"INSERT INTO {grams}({grams}, rowid, {_GRAMS}) SELECT 'delete', old.{key}, old.{column}"
    remove += f" WHERE old.{column} IS NOT NULL;"
    add = (
        f"INSERT INTO {grams}(rowid, {_GRAMS}) SELECT new.{key}, new.{column} WHERE new.{column} IS NOT NULL;"
    )
    return [
        f"CREATE VIRTUAL TABLE {where} USING "
        f"fts5({_GRAMS}, content='', columnsize=0, detail=none, tokenize='ascii')",
        *_triggers(names, quoting, remove, add),
        f"INSERT INTO {where}(rowid, {_GRAMS}) SELECT {key}, {column} "  # noqa: S608
        f"FROM {quoting.table(names.table.name, names.schema)} WHERE {column} IS NOT NULL",
    ]


def _side_table(names: GramNames, dialect: Dialect) -> list[str]:
    """Return the statements for a side table; the last one takes over the rows that are there."""
    quoting = Quoting(dialect)
    side, where = quoting.name(names.storage), quoting.table(names.storage, names.schema)
    keys, column = quoted(quoting, names.keys), quoting.name(names.column)
    all_keys = ", ".join(keys)
    same = " AND ".join(f"{one} = old.{one}" for one in keys)

    def split(into: str, of: str, source: str = "") -> str:
        every = ", ".join(f"{of}{one}" for one in keys)
        grams = f"""json_each('["' || replace({of}{column}, ' ', '","') || '"]')"""
        return (
            f"INSERT OR IGNORE INTO {into} ({GRAM}, {all_keys}) SELECT value, {every} "  # noqa: S608
            f"FROM {source}{grams} WHERE {of}{column} <> ''"
        )

    add = f"{split(side, 'new.')};"
    remove = f"DELETE FROM {side} WHERE {same};"  # noqa: S608
    table = quoting.table(names.table.name, names.schema)
    index = quoting.table(f"{names.storage}_key", names.schema)
    return [
        f"CREATE TABLE {where} ({GRAM} TEXT NOT NULL, {', '.join(f'{one} NOT NULL' for one in keys)}, "
        f"PRIMARY KEY ({GRAM}, {all_keys})) WITHOUT ROWID",
        f"CREATE INDEX {index} ON {side} ({all_keys})",
        *_triggers(names, quoting, remove, add),
        split(where, "one.", f"{table} AS one, "),
    ]


def _triggers(names: GramNames, quoting: Quoting, remove: str, add: str) -> list[str]:
    column, table = quoting.name(names.column), quoting.name(names.table.name)
    changed = [f"old.{one} IS NOT new.{one}" for one in (column, *quoted(quoting, names.keys))]
    events = {
        "insert": ("INSERT", "", add),
        "update": ("UPDATE", f" WHEN {' OR '.join(changed)}", f"{remove} {add}"),
        "delete": ("DELETE", "", remove),
    }
    return [
        f"CREATE TRIGGER {quoting.table(names.trigger(event), names.schema)} AFTER {what} ON {table}"
        f"{when} BEGIN {body} END"
        for event, (what, when, body) in events.items()
    ]
