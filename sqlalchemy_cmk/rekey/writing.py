"""Writing a batch: one statement that changes only rows which are still as they were read.

Each database has its best way. PostgreSQL takes the batch as arrays, MariaDB as a table of values; others,
and columns that are written plain, take one statement with many sets of parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    Connection,
    LargeBinary,
    String,
    Text,
    Update,
    and_,
    bindparam,
    column,
    func,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import NullType, TypeEngine, UserDefinedType

from sqlalchemy_cmk.orm.columns import MYSQL
from sqlalchemy_cmk.rekey.batches import Column
from sqlalchemy_cmk.rekey.conflicts import STATEMENT_SECONDS
from sqlalchemy_cmk.rekey.job import Move
from sqlalchemy_cmk.rekey.layout import Layout

Write = Callable[[Connection, Sequence[Column]], int]


def writer_for(layout: Layout, connection: Connection) -> Write:
    """Return what writes changes and tells how many rows it has changed."""
    sealed = all(move.seals_sealed for move in layout.job.moves)
    if layout.dialect.name == "postgresql" and sealed:
        return _arrays(layout)
    is_mariadb = layout.dialect.name in MYSQL and getattr(layout.dialect, "is_mariadb", False)
    if is_mariadb and sealed and not (layout.joined and layout.guards_tenant):
        return _values_table(layout, connection)
    return _one_by_one(layout)


class _Bytes(UserDefinedType[bytes]):
    """Bytes, handed to the driver as they are; PostgreSQL's BYTEA."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BYTEA"


def _arrays(layout: Layout) -> Write:
    """PostgreSQL: ``UPDATE ... FROM unnest(...)``."""
    keys = [(f"k{i}", one.type) for i, one in enumerate(layout.key)]
    old = [(f"o{i}", _array_type(guard)) for i, guard in enumerate(layout.guards)]
    new: list[tuple[str, TypeEngine[Any]]] = [(f"n{i}", _Bytes()) for i in range(len(layout.job.moves))]
    names = [*keys, *old, *new]
    arrays = (bindparam(name, type_=ARRAY(type_)) for name, type_ in names)
    given = func.unnest(*arrays).table_valued(*(column(name, type_) for name, type_ in names), name="cmk_new")
    rows = given.render_derived()
    statement = update(layout.table).values(_assigned(layout, rows.c))
    statement = statement.where(*(one == rows.c[f"k{i}"] for i, one in enumerate(layout.key)))
    # The rows lie together: without these bounds a table that is not large is read whole for each batch.
    first = layout.key[0]
    low, high = (bindparam(name, type_=first.type) for name in ("low", "high"))
    statement = statement.where(first.between(low, high), *_unchanged(layout, rows.c))

    if layout.dialect.driver == "psycopg":
        return _binary_arrays(statement, names, layout)

    def write(connection: Connection, changes: Sequence[Column]) -> int:
        parameters = {name: list(values) for (name, _), values in zip(names, changes, strict=True)}
        return connection.execute(statement, {**parameters, **_bounds(changes)}).rowcount

    return write


def _binary_arrays(statement: Update, names: list[tuple[str, TypeEngine[Any]]], layout: Layout) -> Write:
    """psycopg: the arrays in binary, where it would take each value apart by a regular expression."""
    from sqlalchemy_cmk.rekey.binary import packer, register

    packers = {name: packer(LargeBinary() if type(type_) is _Bytes else type_) for name, type_ in names}
    written = re.sub(r"%\((\w+)\)s", r"%(\1)b", str(statement.compile(dialect=layout.dialect)))

    def write(connection: Connection, changes: Sequence[Column]) -> int:
        register(connection.connection.dbapi_connection)  # type: ignore[arg-type]
        given = zip(packers.items(), changes, strict=True)
        parameters = {name: pack(values) for (name, pack), values in given}
        return connection.exec_driver_sql(written, {**parameters, **_bounds(changes)}).rowcount

    return write


def _bounds(changes: Sequence[Column]) -> dict[str, Any]:
    return {"low": changes[0][0], "high": changes[0][-1]}


def _array_type(guard: Any) -> TypeEngine[Any]:
    # A guard is a text, or a column of bytes as the driver gives it.
    return _Bytes() if isinstance(guard.type, NullType) else Text()


def _assigned(layout: Layout, given: Any) -> dict[Any, Any]:
    assigned = {}
    for i, move in enumerate(layout.job.moves):
        target, new = layout.column(move.target), given[f"n{i}"]
        assigned[target] = new if layout.job.in_place else func.coalesce(target, new)
    return assigned


def _unchanged(layout: Layout, given: Any) -> list[Any]:
    """Return the criteria under which a row is still as it was read."""
    return [guard.is_not_distinct_from(given[f"o{i}"]) for i, guard in enumerate(layout.guards)]


def _values_table(layout: Layout, connection: Connection) -> Write:
    """MariaDB: ``UPDATE ... JOIN (VALUES ...)``, written out, since SQLAlchemy has no such form of VALUES."""
    quote = layout.dialect.identifier_preparer
    moves = layout.job.moves
    table = quote.format_table(layout.table)
    collations = _collations(layout, connection)
    names = [f"k{i}" for i in range(len(layout.key))]
    guards = layout.guards
    names += [f"o{i}" for i in range(len(guards))] + [f"n{i}" for i in range(len(moves))]
    keys = [
        f"{table}.{quote.quote(one.name)} = {collations.get(one.name, '{}').format(f'cmk_new.k{i}')}"
        for i, one in enumerate(layout.key)
    ]
    same = [f"{_compiled(layout, guard)} <=> cmk_new.o{i}" for i, guard in enumerate(guards)]
    assigned = []
    for i, move in enumerate(moves):
        target = f"{table}.{quote.quote(move.target)}"
        assigned.append(
            f"{target} = " + (f"cmk_new.n{i}" if layout.job.in_place else f"coalesce({target}, cmk_new.n{i})")
        )
    row = "(" + ", ".join(["%s"] * len(names)) + ")"
    head = f"SET STATEMENT max_statement_time = {STATEMENT_SECONDS} FOR UPDATE {table} "
    head += f"JOIN (WITH cmk_rows({', '.join(names)}) AS (VALUES "
    criteria = " AND ".join([*keys, *same])
    tail = f") SELECT * FROM cmk_rows) cmk_new ON {criteria} SET {', '.join(assigned)}"  # noqa: S608

    def write(connection: Connection, changes: Sequence[Column]) -> int:
        values = tuple(chain.from_iterable(zip(*changes, strict=True)))
        statement = head + ", ".join([row] * len(changes[0])) + tail
        return connection.exec_driver_sql(statement, values).rowcount

    return write


def _compiled(layout: Layout, guard: Any) -> str:
    return f"({guard.compile(dialect=layout.dialect)})"


def _collations(layout: Layout, connection: Connection) -> dict[str, str]:
    """Return how a given text is brought to the collation of each key column, so that its index serves."""
    texts = [one.name for one in layout.key if isinstance(one.type, String)]
    if not texts:
        return {}
    query = text(
        "SELECT column_name, character_set_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = coalesce(:schema, database()) AND table_name = :table"
    )
    found = connection.execute(query, {"schema": layout.table.schema, "table": layout.table.name}).all()
    connection.rollback()
    return {
        name: f"CONVERT({{}} USING {charset}) COLLATE {collation}"
        for name, charset, collation in found
        if name in texts and charset
    }


def _one_by_one(layout: Layout) -> Write:
    """Any database: one statement with a set of parameters for each row."""
    moves = layout.job.moves
    given = {f"k{i}": bindparam(f"k{i}", type_=one.type) for i, one in enumerate(layout.key)}
    given |= {f"o{i}": bindparam(f"o{i}", type_=_guard_type(one)) for i, one in enumerate(layout.guards)}
    given |= {f"n{i}": bindparam(f"n{i}", type_=_new_type(move)) for i, move in enumerate(moves)}
    same_row = and_(*(one == given[f"k{i}"] for i, one in enumerate(layout.key)))
    statement = update(layout.table).values(_assigned(layout, given)).where(same_row)
    statement = statement.where(*_unchanged(layout, given))
    names = list(given)

    def write(connection: Connection, changes: Sequence[Column]) -> int:
        rows = [dict(zip(names, row, strict=True)) for row in zip(*changes, strict=True)]
        changed = connection.execute(statement, rows).rowcount
        return changed if changed >= 0 else len(rows)

    return write


def _guard_type(guard: Any) -> TypeEngine[Any]:
    return NullType() if isinstance(guard.type, NullType) else Text()


def _new_type(move: Move) -> TypeEngine[Any]:
    # Not NullType, in whose place SQLAlchemy would put the column's own type.
    if move.seals_sealed:
        return _Bytes()
    # Nothing to write is NULL, where a JSON type would make a JSON null of it.
    kind: Any = type(move.seals)
    return kind(none_as_null=True) if kind in (JSON, JSONB) else move.seals
