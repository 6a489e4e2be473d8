"""MariaDB and MySQL: JSON in the row, and a side table that triggers keep."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Dialect, cast, func
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.databases.grams.base import ASKED, GramNames, GramStorage, quoted, tokens_of
from sqlalchemy_cmk.databases.grams.side_table import GRAM, having_all, require_key
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.errors import ConfigurationError


class MariaDBGrams(GramStorage):
    """A JSON array of integers."""

    @property
    def type(self) -> TypeEngine[Any]:
        """``LONGTEXT``, which MariaDB's JSON is."""
        return LONGTEXT()

    def bind(self, packed: bytes) -> str:
        """Return the tokens as JSON."""
        return f"[{','.join(map(str, tokens_of(packed)))}]"

    def matching(
        self, names: GramNames, hidden: ColumnElement[Any], asked: ColumnElement[Any], dialect: Dialect
    ) -> ColumnElement[bool]:
        """Return that the side table has the row with some of the tokens."""
        each = [func.json_extract(asked, f"$[{n}]", type_=NullType()) for n in range(ASKED)]
        grams = [cast(one if one is each[0] else func.coalesce(one, each[0]), BigInteger) for one in each]
        return having_all(names, hidden, grams)

    def create(self, names: GramNames, dialect: Dialect, *, filled: bool = True) -> list[str]:
        """Return the statements that make the side table, its triggers and its content."""
        require_key(names)
        _refuse_cascades(names)
        quoting = Quoting(dialect)
        side = quoting.table(names.storage, names.schema)
        table = quoting.table(names.table.name, names.schema)
        keys, column = quoted(quoting, names.keys), quoting.name(names.column)
        all_keys = ", ".join(keys)
        remove = f"DELETE FROM {side} WHERE {' AND '.join(f'{one} = OLD.{one}' for one in keys)}"  # noqa: S608

        # Others may write while the rows that are there are taken over: their triggers come first.
        def split(of: str, source: str = "") -> str:
            every = ", ".join(quoted(quoting, names.keys, of))
            return (
                f"INSERT IGNORE INTO {side} ({GRAM}, {all_keys}) "  # noqa: S608
                f"SELECT DISTINCT each_one.{GRAM}, {every} FROM {source}"
                f"JSON_TABLE({of}{column}, '$[*]' COLUMNS ({GRAM} BIGINT PATH '$')) AS each_one"
            )

        add = split("NEW.")
        changed = " AND ".join(f"OLD.{one} <=> NEW.{one}" for one in (column, *keys))
        bodies = {
            "insert": add,
            "update": f"BEGIN IF NOT ({changed}) THEN {remove}; {add}; END IF; END",
            "delete": remove,
        }
        triggers = {event: quoting.table(names.trigger(event), names.schema) for event in bodies}
        return [
            # The columns of the key are as they are in the database, with their character sets.
            f"CREATE TABLE {side} ({GRAM} BIGINT NOT NULL, PRIMARY KEY ({GRAM}, {all_keys}), "  # noqa: S608
            f"KEY ({all_keys})) SELECT 0 AS {GRAM}, {all_keys} FROM {table} LIMIT 0",
            *(
                f"CREATE TRIGGER {triggers[event]} AFTER {event.upper()} ON {table} FOR EACH ROW {body}"
                for event, body in bodies.items()
            ),
            *([split("one.", f"{table} AS one, ")] if filled else ()),
        ]

    def drop(self, names: GramNames, dialect: Dialect) -> list[str]:
        """Return the statements that drop the triggers and the table."""
        quoting = Quoting(dialect)
        triggers = [
            quoting.table(names.trigger(event), names.schema) for event in ("insert", "update", "delete")
        ]
        return [
            *(f"DROP TRIGGER IF EXISTS {one}" for one in triggers),
            f"DROP TABLE IF EXISTS {quoting.table(names.storage, names.schema)}",
        ]


def _refuse_cascades(names: GramNames) -> None:
    """Refuse a key that changes without a trigger being told."""
    for one in names.table.primary_key:
        if any((key.onupdate or "").upper() not in ("", "RESTRICT", "NO ACTION") for key in one.foreign_keys):
            raise ConfigurationError(
                f"{names.table.fullname}.{names.column}: {one.name} changes by ON UPDATE, of which MariaDB "
                "tells no trigger: rows would not be found by the index NGram: declare another primary key"
            )
