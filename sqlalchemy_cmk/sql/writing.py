"""What INSERT and UPDATE in SQL text write into sealed columns, and where in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table

from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.sql.columns import Path
from sqlalchemy_cmk.sql.plans import Inserted, Updated
from sqlalchemy_cmk.sql.refusals import refuse_literal, refuse_text
from sqlalchemy_cmk.sql.schema import columns_by_name, is_secret, sealed_of
from sqlalchemy_cmk.sql.text import SqlText
from sqlalchemy_cmk.sql.trees import expressions
from sqlalchemy_cmk.sql.uses import Given, Uses

_INTO = re.compile(r"\s*INSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO\s+[^()]+\(", re.IGNORECASE)
_VALUES = re.compile(r"\s*VALUES\s*\(", re.IGNORECASE)
_UPDATE = re.compile(r"\s*UPDATE\s+(?=\S)", re.IGNORECASE)
_SET = re.compile(r"\sSET\s", re.IGNORECASE)
_WHERE = re.compile(r"\bWHERE\b", re.IGNORECASE)
_AFTER = re.compile(r"\b(?:RETURNING|ORDER|LIMIT)\b|;", re.IGNORECASE)


def read_insert(text: SqlText, tree: Any, table: Table, uses: Uses) -> Inserted | None:
    """Return the rows of an INSERT into a protected table; ``None`` if it writes no sealed column.

    Raises:
        UnsupportedOperation: it would write what is not a parameter, its rows come from a query, or it may
            change rows that are there.
    """
    exp = expressions()
    _refuse_upsert(tree)
    values = tree.expression
    if not isinstance(tree.this, exp.Schema) or not isinstance(values, exp.Values):
        refuse_text(f"an INSERT into {table.fullname} lists its columns, and has VALUES")
    columns = [_column(table, one.name) for one in tree.this.expressions]
    rows = [tuple(map(uses.given, row.expressions)) for row in values.expressions]
    sealed = [i for i, column in enumerate(columns) if is_secret(column)]
    if not sealed:
        return None
    if len(set(columns)) != len(columns) or any(len(row) != len(columns) for row in rows):
        refuse_text("a row of an INSERT has another number of values than columns")
    for index in sealed:
        for row in rows:
            _require_parameter(columns[index], row[index])
    names_end, row_ends = _places(text, len(columns), len(rows))
    return Inserted(table, tuple(columns), tuple(rows), names_end, row_ends)


def _refuse_upsert(tree: Any) -> None:
    conflict = tree.args.get("conflict")
    changes = conflict is not None and (conflict.expressions or conflict.args.get("duplicate"))
    named = conflict is not None and conflict.args.get("action") is not None
    does_nothing = named and conflict.args["action"].name.upper() == "DO NOTHING"
    if changes or (conflict is not None and not does_nothing):
        refuse_text(
            "an INSERT that updates rows: they may be another tenant's. Write INSERT ... ON CONFLICT DO "
            "NOTHING, and an UPDATE by the primary key"
        )
    if str(tree.args.get("alternative") or "").upper() not in ("", "IGNORE") or tree.args.get("overwrite"):
        refuse_text("an INSERT that replaces rows: they may be another tenant's")


def _places(text: SqlText, columns: int, rows: int) -> tuple[int, tuple[int, ...]]:
    """Return where the list of columns ends, and each row: found in the text, and compared with the tree."""
    begin = _INTO.match(text.bare)
    names_end = -1 if begin is None else _closing(text.bare, begin.end())
    values = None if names_end < 0 else _VALUES.match(text.bare, names_end + 1)
    ends: list[int] = []
    at = -1 if values is None else values.end()
    while at >= 0:
        end = _closing(text.bare, at)
        if end < 0 or _commas(text.bare[at:end]) != columns - 1:
            refuse_text("the rows of an INSERT")
        ends.append(end)
        following = re.match(r"\s*,\s*\(", text.bare[end + 1 :])
        at = -1 if following is None else end + 1 + following.end()
    if len(ends) != rows:
        refuse_text("the rows of an INSERT")
    return names_end, tuple(ends)


def read_update(
    text: SqlText, tree: Any, target: Any, table: Table | None, path: Path, uses: Uses
) -> tuple[Updated | None, list[Any]]:
    """Return what an UPDATE writes into sealed columns, if it does, and the nodes that assign it.

    Raises:
        UnsupportedOperation: it would write what is not a parameter, or changes whose row or which it is.
    """
    exp = expressions()
    assigned: list[Any] = []
    written: dict[Column[Any], Given] = {}
    fixed = _fixed_columns(table)
    for one in tree.expressions:
        if not isinstance(one, exp.EQ) or not isinstance(one.this, exp.Column):
            refuse_text("an assignment that is not of one column")
        uses.looked.add(id(one.this))
        column = None if table is None else dict(columns_by_name(table)).get(one.this.name.casefold())
        if column is None and table is not None and is_known(table):
            refuse_text(f"{table.fullname} has no column {one.this.name}")
        if column is not None and column in fixed:
            refuse_text(f"an UPDATE of {column}, which says whose row it is, or which: change loaded objects")
        if column is None or not is_secret(column):
            assigned.append(one.this)
            continue
        written[column] = _require_parameter(column, uses.given(one.expression))
        assigned.append(one)
    if not written or table is None:
        return None, assigned
    places = _update_places(text, tree)
    return Updated(table, target.alias, path, written, *places), assigned


def is_known(table: Table) -> bool:
    """Return whether a table has sealed columns, so that all its columns have to be known."""
    return bool(sealed_columns(table))


def _fixed_columns(table: Table | None) -> set[Column[Any]]:
    """Return the columns that say whose row it is, or which row its values are bound to."""
    found: set[Column[Any]] = set()
    source = None if table is None else tenant_source(table)
    if source is not None and source.table is table:
        found.add(source.column)
    sealed = {} if table is None else sealed_columns(table)
    if table is not None and any(one.scheme.row_bound for one in sealed.values()):
        found.update(identity_of(table).columns)
    return found


def _update_places(text: SqlText, tree: Any) -> tuple[tuple[int, int], int, tuple[int, int] | None, int]:
    if any(tree.args.get(one) for one in ("limit", "order")):
        refuse_text("an UPDATE of sealed columns with ORDER BY or LIMIT")
    begin = _UPDATE.match(text.bare)
    outside = _outside(text.bare)
    set_ = None if begin is None else _SET.search(outside, begin.end())
    if begin is None or set_ is None:
        refuse_text("an UPDATE that does not begin with UPDATE table SET")
    if re.match(r"(?:ONLY|OR|IGNORE|LOW_PRIORITY)\s", text.bare[begin.end() :], re.IGNORECASE):
        refuse_text("an UPDATE that does not begin with UPDATE table SET")
    where = _WHERE.search(outside, set_.end())
    after = _AFTER.search(outside, set_.end() if where is None else where.end())
    end = len(text.bare.rstrip()) if after is None else after.start()
    if (where is None) is not (tree.args.get("where") is None):
        refuse_text("where the WHERE clause of an UPDATE is")
    criteria = None if where is None else (where.end(), end)
    return (begin.end(), set_.start()), set_.end(), criteria, end


def _require_parameter(column: Column[Any], given: Given | None) -> Given:
    sealed = sealed_of(column)
    if isinstance(column.type, TokenType) or sealed is None:
        refuse_text(f"{column} holds the tokens of an index, which are written with the values")
    if given is None or given.value is not None:
        refuse_literal(sealed)
    return given


def _column(table: Table, name: str) -> Column[Any]:
    found = dict(columns_by_name(table)).get(name.casefold())
    if found is None:
        refuse_text(f"{table.fullname} has no column {name} in its model")
    return found


def _closing(bare: str, at: int) -> int:
    """Return where the bracket closes that opens before ``at``; -1 where it does not."""
    depth = 1
    for index in range(at, len(bare)):
        depth += (bare[index] == "(") - (bare[index] == ")")
        if not depth:
            return index
    return -1


def _commas(bare: str) -> int:
    return _outside(bare).count(",")


def _outside(bare: str) -> str:
    """Return a text with spaces for all that is in brackets."""
    return "".join(_levels(bare))


def _levels(bare: str) -> Iterator[str]:
    depth = 0
    for one in bare:
        depth -= one == ")"
        yield " " if depth else one
        depth += one == "("
