"""INSERT, UPDATE and DELETE: what they write into sealed columns has passed the hooks, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BindParameter, Delete, FromClause, Insert, Table, Update
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import NullType

from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported.operands import held, selected_of, where
from sqlalchemy_cmk.hooks.unsupported.selecting import check_columns, check_rest

Pair = tuple[Any, Any]


def check_write(statement: Insert | Update, *, nested: bool) -> None:
    """Refuse a write of sealed columns that the hooks have not sealed: they see a whole statement on a table.

    Args:
        statement: the INSERT or UPDATE.
        nested: whether it is part of another statement.
    """
    target: Any = statement.table
    seen = isinstance(target, Table) and not nested
    for table in [target] if isinstance(target, Table) else _tables(target):
        if not seen and isinstance(statement, Insert) and sealed_columns(table):
            raise UnsupportedOperation(
                f"{table.fullname}: an INSERT in a CTE is not sealed row by row: run it by itself"
            )
        if not seen and isinstance(statement, Update) and (sealed_columns(table) or tenant_source(table)):
            raise UnsupportedOperation(
                f"{table.fullname}: an UPDATE of an alias, a join or in a CTE is not sealed row by row: "
                "update the table itself"
            )
    pairs = list(_pairs(statement))
    for key, value in pairs:
        _check_pair(target, _element(key), _element(value))
    returned = private.returned(statement)
    check_columns(returned)
    check_rest(statement, [*returned, *(_element(one) for pair in pairs for one in pair)])


def check_delete(statement: Delete) -> None:
    """Refuse a DELETE that takes a sealed column for a condition, or returns one unopened."""
    returned = private.returned(statement)
    check_columns(returned)
    check_rest(statement, returned)


def check_copied_table(statement: Any) -> None:
    """Refuse to make a table or view of sealed columns, whose context would be another one there."""
    for column in selected_of(getattr(statement, "selectable", None)) or ():
        sealed = held(column)
        if sealed is not None and sealed.scheme.context is None:
            raise UnsupportedOperation(
                f"{where(sealed)} in a table or view made of a SELECT would be a column of another context, "
                'and not open: give it EncryptedType(..., context="...") first'
            )


def refuse_unknown_columns(compiled: Compiled) -> None:
    """Refuse parameters that are written into a sealed column which the hooks do not know.

    Raises:
        UnsupportedOperation: the column is of a lightweight ``table()``, or was replaced in its table; or the
            statement was compiled before the column was a sealed one.
    """
    target = getattr(compiled.statement, "table", None)
    sealed_keys = sealed_columns(target).keys() if isinstance(target, Table) else ()
    for _, bind in private.written_parameters(compiled) if hasattr(compiled, "bind_names") else ():
        sealed = held(bind)
        if sealed is not None:
            _refuse_unknown(target, sealed)
        elif bind.key in sealed_keys:
            raise UnsupportedOperation(
                f"{target.fullname}.{bind.key} was written before keyring.apply_to, and the engine keeps the "  # type: ignore[union-attr]
                "statement as it was compiled: call engine.clear_compiled_cache() after apply_to"
            )


def _check_pair(target: Any, key: Any, value: Any) -> None:
    """Check one column that is set, and what it is set to."""
    column = target.c.get(key) if isinstance(key, str) and isinstance(target, FromClause) else key
    other = getattr(column, "table", None)
    sealed = held(column)
    if isinstance(other, Table) and other.key != getattr(target, "key", None) and sealed_columns(other):
        raise UnsupportedOperation(
            f"{other.fullname}: an UPDATE of another table cannot write to it: update it by itself"
        )
    if sealed is not None:
        _refuse_unknown(target, sealed)
        # One without a type takes that of the column, which lets nothing pass that is not sealed.
        typed = isinstance(value, BindParameter) and not isinstance(value.type, NullType)
        if typed and held(value) is None:
            raise UnsupportedOperation(
                f"{where(sealed)}: a parameter of type {value.type!r} has not passed the hooks and would be "
                "written unsealed: give the value itself, to a statement that is not compiled yet"
            )
    elif (given := held(value)) is not None:
        raise UnsupportedOperation(
            f"{where(given)} is written into the plain column {getattr(column, 'name', key)!r}: it would "
            "hold sealed bytes that nothing opens: write the value in Python, or type_coerce(column, "
            "LargeBinary) for the stored bytes themselves"
        )


def _refuse_unknown(target: Any, sealed: EncryptedType) -> None:
    table = target.metadata.tables.get(target.key, target) if isinstance(target, Table) else None
    known = () if table is None else sealed_columns(table).values()
    if not any(one is sealed.sealed_column for one in known):
        raise UnsupportedOperation(
            f"{where(sealed)} is written through a table() or a column that its rows are not sealed for: "
            "write to the model or to its own Table, and after extend_existing=True declare the model again"
        )


def _pairs(statement: Any) -> Iterator[Pair]:
    """Return the columns that a statement sets, and what to."""
    yield from private.single_values(statement).items()
    if not isinstance(statement, Insert):
        return
    for row in private.multi_values(statement):
        yield from row.items() if isinstance(row, dict) else zip(statement.table.c, row, strict=False)
    if private.is_from_select(statement):
        names = private.insert_names(statement)
        yield from zip(names, statement.select.selected_columns, strict=False)  # type: ignore[union-attr]
    yield from private.upsert_assignments(statement) or ()


def _element(one: Any) -> Any:
    return one.__clause_element__() if hasattr(one, "__clause_element__") else one


def _tables(target: FromClause) -> Iterator[Table]:
    return (one for one in iterate(target) if isinstance(one, Table))
