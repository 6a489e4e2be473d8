"""SQLite's catalogue, the statements in ``sqlite_master``: the column stays, and what reads it is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Structure, Subject
from sqlalchemy_cmk.alembic.conversion.catalogue.words import Text, Word
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.quoting import Quoting, verbatim

_PROBES = ("cmk_probe", "cmk_probe_2")


def read(subject: Subject) -> Structure:
    """Return what comes back, which is all, and note what stands in the way."""
    catalogue = _Catalogue(subject)
    subject.found([*catalogue.of_column(), *catalogue.of_table(), *catalogue.elsewhere()])
    return Structure()


class _Catalogue:
    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._quoting = Quoting(subject.dialect)
        self._schema = subject.plan.schema or "main"
        master = f"{self._quoting.name(self._schema)}.sqlite_master"
        query = f"SELECT type, name, tbl_name, sql FROM {master} WHERE sql IS NOT NULL ORDER BY name"  # noqa: S608
        self._all = subject.connection.execute(verbatim(query)).all()

    def of_column(self) -> Iterator[str]:
        """Return what the column is."""
        query = text(
            "SELECT name, pk, hidden, dflt_value IS NOT NULL AS has_default "
            "FROM pragma_table_xinfo(:table, :schema)"
        )
        for row in self._subject.connection.execute(query, self._values):
            if row.name.lower() == self._column.lower():
                if row.pk:
                    yield "it is part of the primary key, which stays plain"
                if row.hidden:
                    yield "it is a generated column"
                if row.has_default:
                    yield (
                        "it has a default, which SQLite would write plain: take it away with "
                        "batch_alter_table and server_default=None"
                    )

    def of_table(self) -> Iterator[str]:
        """Return what in the table's own statement, and in its indexes, computes with the column."""
        for kind, name, table, sql in self._all:
            if table.lower() != self._subject.plan.table.lower():
                continue
            if kind == "table":
                yield from self._definitions(Text(sql))
            elif kind == "index" and self._computes(Text(sql)):
                yield f"the index {name} computes with its value"
        for table, column in self._foreign_keys("t.name = :table COLLATE NOCASE", 'f."from"'):
            yield f"it is part of the foreign key to {table} ({column})"

    def elsewhere(self) -> Iterator[str]:
        """Return what else in the database names it, and what keeps SQLite from altering any table."""
        for kind, name, _, sql in self._all:
            if name == self._subject.plan.tag:
                continue
            words = Text(sql)
            if not words.names(self._subject.plan.table):
                continue
            if kind == "view" and (words.names(self._column) or words.says("*")):
                yield f"the view {name} reads it"
            elif kind == "trigger" and words.until("BEGIN").names(self._column):
                yield f"the trigger {name} fires by it"
        for table, _ in self._foreign_keys('f."table" = :table COLLATE NOCASE', 'f."to"'):
            yield f"a foreign key of {table} points at it"
        yield from self._broken()

    def _broken(self) -> Iterator[str]:
        """Return what SQLite says when it is to change a table while a view or trigger does not work."""
        first, second = _PROBES
        steps = (f"ADD COLUMN {first} BLOB", f"RENAME COLUMN {first} TO {second}")
        connection = self._subject.connection
        connection.exec_driver_sql("SAVEPOINT cmk_probe")
        try:
            for step in steps:
                connection.execute(verbatim(f"ALTER TABLE {self._subject.table} {step}"))
        except DBAPIError as error:
            if database_of(connection.dialect).is_conflict(error):
                raise
            yield f"SQLite changes no table as things are ({error.orig})"
        finally:
            connection.exec_driver_sql("ROLLBACK TO cmk_probe")
            connection.exec_driver_sql("RELEASE cmk_probe")

    @property
    def _column(self) -> str:
        return self._subject.plan.column

    @property
    def _values(self) -> dict[str, Any]:
        return {"table": self._subject.plan.table, "schema": self._schema, "column": self._column}

    def _foreign_keys(self, criterion: str, end: str) -> list[tuple[str, str]]:
        master = f"{self._quoting.name(self._schema)}.sqlite_master"
        other = 'f."table"' if "from" in end else "t.name"
        query = (
            f"SELECT {other}, {end} FROM {master} t, pragma_foreign_key_list(t.name, :schema) f "  # noqa: S608
            f"WHERE t.type = 'table' AND {criterion} AND {end} = :column COLLATE NOCASE"
        )
        found = self._subject.connection.execute(text(query), self._values)
        return [(row[0], row[1]) for row in found]

    def _computes(self, index: Text) -> bool:
        """Return whether an index has the column in an expression or its criterion."""
        words = index.words
        opening = next(i for i, one in enumerate(words) if one.says("("))
        depth = 0
        for i, word in enumerate(words[opening:], opening):
            depth += word.says("(") - word.says(")")
            if depth == 0:
                return Text(words[i:]).computes_with(self._column) or self._in_expression(words[opening:i])
        return True

    def _in_expression(self, words: tuple[Word, ...]) -> bool:
        for part in _parts(words[1:]):
            alone = part[0].names(self._column) and all(
                one.says("COLLATE") or one.says("ASC") or one.says("DESC") or part[i].says("COLLATE")
                for i, one in enumerate(part[1:])
            )
            if not alone and any(one.names(self._column) for one in part):
                return True
        return False

    def _definitions(self, statement: Text) -> Iterator[str]:
        words = statement.words
        opening = next(i for i, one in enumerate(words) if one.says("("))
        for part in _parts(words[opening + 1 :]):
            own = part[0].names(self._column)
            named = any(one.names(self._column) for one in (part[1:] if own else part))
            checks = any(one.says("CHECK") for one in part)
            if (own and checks) or (named and checks):
                name = f" {part[1].text}" if part[0].says("CONSTRAINT") else ""
                yield f"the check constraint{name} needs plain values"
            elif named and not own and any(one.says("AS") for one in part):
                yield f"the generated column {part[0].text} computes with it"


def _parts(words: tuple[Word, ...]) -> Iterator[tuple[Word, ...]]:
    """Return what stands between the commas of a list, up to its closing parenthesis."""
    depth, part = 0, list[Word]()
    for word in words:
        if depth == 0 and (word.says(",") or word.says(")")):
            if part:
                yield tuple(part)
            part = []
            if word.says(")"):
                return
            continue
        depth += word.says("(") - word.says(")")
        part.append(word)
    if part:
        yield tuple(part)
