"""Searches a database for values under DEKs that are about to be destroyed, where no model says they are.

An archive made by CREATE TABLE AS, a detached partition, a materialized view, the same table in another
schema: reading them takes the DEKs. A value names its DEK in its first nine bytes. So do its base64 and
hexadecimal forms, which text, JSON and arrays are searched for. Tables that are large are sampled.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    FromClause,
    LargeBinary,
    MetaData,
    Table,
    select,
)
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.errors import first_line
from sqlalchemy_cmk.databases.visibility.stored import StoredTable
from sqlalchemy_cmk.format import Suite, header_of
from sqlalchemy_cmk.rekey.counting import count_rows

# Bytes of a table that is read from end to end, and rows that are read of a larger one.
FULL_BYTES = 1 << 30
SAMPLED_ROWS = 20_000
# To look into texts takes about so many times longer than to look at the first bytes of values.
TEXT_COSTS = 8

_FETCHED = 1000
# What every form of a header begins like, whichever the DEK: see forms(). The database looks for the shape,
# and only a text that has it is looked at here.
_SHAPE = "A[Q-Za-v][A-Za-z0-9+/_-]{10}|0[12][0-9a-fA-F]{16}"
_FORM = re.compile(f"(?=({_SHAPE}))")


class SnapshotTooOld(Exception):
    """A table was made, or rewritten, after the snapshot; the message says which."""


@dataclass(slots=True)
class Findings:
    """What a search has found.

    Attributes:
        rows: by DEK, how many values under it each column holds, by ``schema.table.column``.
        sampled: the tables of which only a sample was read.
        unread: by table, why it could not be read.
    """

    rows: dict[bytes, dict[str, int]] = field(default_factory=dict)
    sampled: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def search(
    connection: Connection,
    deks: Collection[bytes],
    counted: Iterable[tuple[Table, Sequence[str]]],
    own: Collection[Table],
    ignoring: Collection[str] = (),
) -> Findings:
    """Search every table of the database for values under some DEKs.

    Args:
        connection: in the transaction in which the models' tables were counted.
        deks: ids of the DEKs.
        counted: the tables that were counted, and which of their columns.
        own: the keyring's own tables.
        ignoring: names of tables, ``table`` or ``schema.table``, and patterns with ``*``, that are not
            searched.

    Raises:
        SnapshotTooOld: a table is newer than the transaction's snapshot.
    """
    visibility = database_of(connection.dialect).visibility
    known: dict[tuple[str, str], set[str]] = {}
    for table, columns in (*counted, *((one, [column.name for column in one.columns]) for one in own)):
        for place in visibility.family(connection, table):
            known.setdefault(place, set()).update(columns)
    findings, searched = Findings(), set[str]()
    names = {table.name for table, _ in counted} or {""}
    while True:
        there = {one.full_name: one for one in visibility.tables(connection, names)}
        # What was dropped meanwhile needs nothing; what was renamed has another name now.
        findings.unread = {name: why for name, why in findings.unread.items() if name in there}
        left = [one for name, one in there.items() if name not in searched and not is_named(one, ignoring)]
        for stored in left:
            searched.add(stored.full_name)
            _search_table(connection, stored, known.get((stored.schema, stored.name), set()), deks, findings)
        if not (left and findings.unread):
            break
    for everything, why in visibility.unlisted(connection).items():
        if not any(fnmatchcase(everything, pattern) for pattern in ignoring):
            findings.unread[everything] = why
    searched |= {f"{schema}.{name}" for schema, name in known}
    newer = sorted(searched.intersection(visibility.newer_than_snapshot(connection)))
    if newer:
        raise SnapshotTooOld(f"{', '.join(newer)} was rewritten, or dropped")
    return findings


def is_named(stored: StoredTable, patterns: Iterable[str]) -> bool:
    """Return whether a table is among some names and patterns."""
    names = (stored.full_name, stored.name) if stored.is_default else (stored.full_name,)
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _search_table(
    connection: Connection,
    stored: StoredTable,
    counted: set[str],
    deks: Collection[bytes],
    findings: Findings,
) -> None:
    as_bytes = [name for name in stored.bytes_columns if name not in counted]
    as_text = [name for name in stored.text_columns if name not in counted]
    for find, columns, cost in ((_in_bytes, as_bytes, 1), (_in_text, as_text, TEXT_COSTS)):
        if not columns:
            continue
        rows = _rows(connection, stored, columns)
        if stored.size * cost > FULL_BYTES:
            rows = database_of(connection.dialect).visibility.sample(rows, stored, SAMPLED_ROWS)
            if stored.full_name not in findings.sampled:
                findings.sampled.append(stored.full_name)
        try:
            with connection.begin_nested():
                found = list(find(connection, rows, columns, deks))
        except DBAPIError as error:
            problem, is_newer = first_line(error), database_of(connection.dialect).is_out_of_date(error)
        else:
            problem, is_newer = "", False
        if is_newer:
            raise SnapshotTooOld(f"{stored.full_name}: {problem}")
        if problem:
            findings.unread[stored.full_name] = problem
            return
        for dek_id, column, count in found:
            where = findings.rows.setdefault(dek_id, {})
            name = f"{stored.full_name}.{column}"
            where[name] = where.get(name, 0) + count


def _rows(connection: Connection, stored: StoredTable, columns: Sequence[str]) -> Any:
    own = [Column(name, LargeBinary()) for name in columns]
    return Table(stored.name, MetaData(), *own, schema=stored.schema)


Found = Iterator[tuple[bytes, str, int]]


def _in_bytes(
    connection: Connection, rows: FromClause, columns: Sequence[str], deks: Collection[bytes]
) -> Found:
    wanted = set(deks)
    for column, counts in count_rows(connection, rows, columns, wanted).items():
        for dek_id, count in counts.by_dek.items():
            if dek_id is not None:
                yield dek_id, column, count


def _in_text(
    connection: Connection, rows: FromClause, columns: Sequence[str], deks: Collection[bytes]
) -> Found:
    wanted = {form: dek_id for dek_id in deks for form in forms(dek_id)}
    for column in columns:
        shown = database_of(connection.dialect).visibility.shown(rows.c[column])
        query = select(shown).where(shown.regexp_match(_SHAPE)).execution_options(yield_per=_FETCHED)
        found = Counter[bytes]()
        for (value,) in connection.execute(query):
            found.update({wanted[one] for one in _FORM.findall(value) if one in wanted})
        yield from ((dek_id, column, count) for dek_id, count in found.items())


def forms(dek_id: bytes) -> set[str]:
    """Return how values under a DEK begin in base64 and in hexadecimal digits, of each suite."""
    headers = [header_of(suite, dek_id) for suite in Suite]
    # Nine bytes are twelve characters of base64, which nothing after them changes.
    texts = {encode(one).decode() for one in headers for encode in (b64encode, urlsafe_b64encode)}
    return texts | {one.hex() for one in headers} | {one.hex().upper() for one in headers}
