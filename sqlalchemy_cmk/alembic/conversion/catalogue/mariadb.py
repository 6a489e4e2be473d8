"""MariaDB's and MySQL's catalogue: SHOW CREATE TABLE, which is complete, and what else names the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Structure, Subject
from sqlalchemy_cmk.alembic.conversion.catalogue.words import Text, Word
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.quoting import Quoting, verbatim

_COLUMNS = text("""
    SELECT column_name AS name, is_nullable = 'YES' AS nullable, extra, column_comment AS comment,
        column_type AS type, nullif(column_default, 'NULL') AS default_text
    FROM information_schema.columns
    WHERE table_schema = coalesce(:schema, database()) AND table_name = :table ORDER BY ordinal_position
""")
_INDEXES = text("""
    SELECT index_name AS name, index_type AS kind, sub_part AS length FROM information_schema.statistics
    WHERE table_schema = coalesce(:schema, database()) AND table_name = :table AND column_name = :column
    ORDER BY index_name
""")
_REFERENCES = text("""
    SELECT constraint_name AS name, concat(table_schema, '.', table_name) AS place
    FROM information_schema.key_column_usage
    WHERE referenced_table_schema = coalesce(:schema, database()) AND referenced_table_name = :table
        AND referenced_column_name = :column
""")
# Definitions always name a table's database; lower_case_table_names says in which case names are kept.
_VIEWS = text("""
    SELECT concat(table_schema, '.', table_name) AS name, view_definition AS definition
    FROM information_schema.views
    WHERE locate(lower(concat('`', replace(coalesce(:schema, database()), '`', '``'), '`.`',
            replace(:table, '`', '``'), '`')), lower(view_definition)) > 0
        OR (view_definition = '' AND table_schema = coalesce(:schema, database()))
""")
_INDEX = re.compile(r"  (?:\w+ )?KEY (?P<rest>.*)", re.DOTALL)
_KINDS = ("BTREE", "HASH")
# Of a column's definition, in information_schema.columns.extra: these come back, or are dealt with elsewhere.
_EXTRA = re.compile(r"invisible|default_generated|,|\s", re.IGNORECASE)
# InnoDB compresses no temporary table, and keeps it in a folder of its own.
_NOT_TEMPORARY = re.compile(
    r"\b(?:ROW_FORMAT=COMPRESSED|KEY_BLOCK_SIZE=\d+)|(?: (?:DATA|INDEX) DIRECTORY='(?:[^']|'')*')+$"
)


def read(subject: Subject) -> Structure:
    """Return what comes back, and note what stands in the way."""
    values = {"schema": subject.plan.schema, "table": subject.plan.table, "column": subject.plan.column}
    columns = list(subject.connection.execute(_COLUMNS, values))
    (at,) = (i for i, one in enumerate(columns) if one.name.lower() == subject.plan.column.lower())
    table = _Table(subject)
    subject.found([*_own(columns[at]), *table.obstacles()])
    subject.found(subject.default_obstacle(columns[at].default_text))
    subject.found(_elsewhere(subject, values))
    names = []
    for index in subject.connection.execute(_INDEXES, values):
        subject.found(_index_obstacles(index))
        names.append(index.name)
    if not subject.obstacles:
        subject.found(_Probe(subject, table).obstacles())
    quote = Quoting(subject.dialect).name
    return Structure(
        bool(columns[at].nullable),
        _options(columns[at]),
        f"AFTER {quote(columns[at - 1].name)}" if at else "FIRST",
        tuple(f"DROP INDEX {quote(name)}" for name in names),
        tuple(f"ADD {table.index(name)}" for name in names if name != "PRIMARY"),
    )


class _Table:
    """A table as SHOW CREATE TABLE has it, definition by definition."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        shown = subject.connection.execute(verbatim(f"SHOW CREATE TABLE {subject.table}")).one()
        self._lines = str(shown[1]).split("\n")

    def index(self, name: str) -> str:
        """Return the definition of an index."""
        quoted = _always_quoted(self._subject, name)
        for line in self._lines:
            found = _INDEX.fullmatch(line)
            if found and found["rest"].startswith(f"{quoted} "):
                return line.strip().removesuffix(",")
        raise LookupError(name)

    def copied(self, name: str) -> str:
        """Return the statement that makes an empty temporary copy, without FULLTEXT and foreign keys."""
        end = next(i for i, line in enumerate(self._lines) if line.startswith(")"))
        kept = [
            line.removesuffix(",")
            for line in self._lines[1:end]
            if not line.startswith(("  FULLTEXT", "  SPATIAL", "  CONSTRAINT"))
        ]
        options = _NOT_TEMPORARY.sub("", self._lines[end])
        return f"CREATE TEMPORARY TABLE {name} (\n" + ",\n".join(kept) + f"\n{options}"

    def obstacles(self) -> Iterator[str]:
        """Return what in the table's own definition names the column."""
        column, partitions = self._subject.plan.column, False
        for line in self._lines[1:]:
            words = Text(line, backslashes=True)
            partitions |= line.startswith(")")
            if _INDEX.fullmatch(line):
                continue
            first = words.words[0] if words.words else Word("")
            name = words.words[1].text if len(words.words) > 1 else ""
            if first.says("CONSTRAINT"):
                # What a foreign key points at is in another table.
                words = Text(Text(words.words[2:]).until("REFERENCES").words)
            if not words.quotes(column):
                continue
            if partitions:
                yield "the table is partitioned by it"
            elif first.is_quoted and first.names(column):
                yield from _own_obstacles(words)
            elif words.says("FOREIGN"):
                yield f"it is part of the foreign key {name}"
            elif first.says("CONSTRAINT"):
                if name != self._subject.plan.tag:
                    yield f"the check constraint {name} needs plain values"
            else:
                yield f"the column {first.text} computes with it"


def _always_quoted(subject: Subject, name: str) -> str:
    """Return a name as SHOW CREATE TABLE quotes it: always."""
    quote = subject.dialect.identifier_preparer.initial_quote
    return quote + name.replace(quote, quote * 2) + quote


def _own_obstacles(words: Text) -> Iterator[str]:
    # MariaDB checks a JSON column by itself.
    if words.says("CHECK") and not words.names("json_valid"):
        yield "the check constraint on it needs plain values"
    if words.says("WITHOUT") or words.says("ROW"):
        yield "it has a part in system versioning"


def _own(column: Row[Any]) -> Iterator[str]:
    extra = _EXTRA.sub("", column.extra or "")
    if extra:
        yield f"it is {column.extra}, which a sealed column cannot be"
    if "COMPRESSED" in column.type.upper():
        yield "it is COMPRESSED: MODIFY it without"


def _options(column: Row[Any]) -> str:
    invisible = " INVISIBLE" if "invisible" in (column.extra or "").lower() else ""
    comment = column.comment.replace("\\", "\\\\").replace("'", "''")
    return f"{invisible} COMMENT '{comment}'" if comment else invisible


def _index_obstacles(index: Row[Any]) -> Iterator[str]:
    if index.name == "PRIMARY":
        yield "it is part of the primary key, which stays plain"
    if index.kind not in _KINDS:
        yield f"the index {index.name} is of kind {index.kind}"
    if index.length is not None:
        yield f"the index {index.name} is on the first {index.length} characters only"


def _elsewhere(subject: Subject, values: dict[str, Any]) -> Iterator[str]:
    column = subject.plan.column
    for row in subject.connection.execute(_REFERENCES, values):
        yield f"the foreign key {row.name} of {row.place} points at it"
    for row in subject.connection.execute(_VIEWS, values):
        if not row.definition:
            yield f"the view {row.name} may read it: this account may not SHOW VIEW"
        elif Text(row.definition, backslashes=True).quotes(column):
            yield f"the view {row.name} reads it"


class _Probe:
    """An empty copy of the table, which shows whether the new type fits and the collation comes back."""

    def __init__(self, subject: Subject, table: _Table) -> None:
        self._subject = subject
        self._table = table
        self._name = Quoting(subject.dialect).table(f"{subject.plan.tag}_p", subject.plan.schema)
        self._column = Quoting(subject.dialect).name(subject.plan.column)

    def obstacles(self) -> Iterator[str]:
        """Change the copy's column to the new type and back."""
        reason = self._refused(self._table.copied(self._name))
        if reason:
            yield f"no temporary copy of the table can be made to try the new type on ({reason})"
            return
        try:
            yield from self._tried()
        finally:
            self._execute(f"DROP TEMPORARY TABLE {self._name}")

    def _tried(self) -> Iterator[str]:
        before, indexes, made = self._collation(), self._indexes(), self._subject.type_after
        reason = self._refused(self._modified(made))
        if reason:
            yield f"the table and its indexes take no {made} in its place ({reason})"
            return
        # A long value's index is cut to a prefix, or made one of hashes, with no more than a note.
        for name in sorted({one[0] for one in self._indexes() ^ indexes}):
            yield f"the index {name} cannot be on all of a {made}"
        if self._subject.is_plain:
            self._execute(self._modified(self._subject.type_before))
            after = self._collation()
            if after is not None and before != after:
                yield f"its collation is {before}, and existing_type makes it {after}: correct that"

    def _modified(self, type_: str) -> str:
        return f"ALTER TABLE {self._name} MODIFY COLUMN {self._column} {type_}"

    def _refused(self, statement: str) -> str:
        """Return why the database refuses a statement."""
        try:
            self._execute(statement)
        except DBAPIError as error:
            return database_of(self._subject.dialect).explain(error)
        return ""

    def _indexes(self) -> set[tuple[str, str, int | None, str]]:
        rows = self._subject.connection.execute(verbatim(f"SHOW INDEX FROM {self._name}")).all()
        return {(row[2], row[4], row[7], row[10]) for row in rows}

    def _collation(self) -> str | None:
        rows = self._subject.connection.execute(verbatim(f"SHOW FULL COLUMNS FROM {self._name}")).all()
        (found,) = (row for row in rows if row[0].lower() == self._subject.plan.column.lower())
        return None if found[2] is None else str(found[2])

    def _execute(self, statement: str) -> None:
        self._subject.connection.execute(verbatim(statement))
