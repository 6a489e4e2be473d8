"""What INSERT, UPDATE and SELECT statements hold, and copies of them that write other values."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from sqlalchemy import Column, ColumnElement, Insert, Table, Update, and_
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.sql.lambdas import LambdaElement
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.util import LRUCache, immutabledict

Values = dict[Any, Any]


def single_values(statement: Insert | Update) -> Values:
    """Return what ``.values(a=1)`` put into a statement, by column or name."""
    ordered = getattr(statement, "_ordered_values", None)
    return dict(ordered or statement._values or {})


def multi_values(statement: Insert) -> list[Any]:
    """Return the rows that ``.values([{...}, {...}])`` put into an INSERT."""
    return [row for rows in statement._multi_values for row in rows]


def with_multi_values(statement: Insert, rows: list[Values]) -> Insert:
    """Return a copy of an INSERT with other rows."""
    changed: Insert = statement._generate()
    changed._multi_values = (rows,)
    return changed


def with_single_values(statement: Insert | Update, values: Values) -> Any:
    """Return a copy of a statement with some of its values replaced, in their order, and others added."""
    changed: Any = statement._generate()
    if getattr(statement, "_ordered_values", None):
        ordered: list[Any] = list(statement._ordered_values)  # type: ignore[union-attr]
        known = dict(ordered)
        added = [pair for pair in values.items() if pair[0] not in known]
        changed._ordered_values = [(key, values.get(key, value)) for key, value in ordered] + added
    else:
        changed._values = immutabledict({**dict(statement._values or {}), **values})
    return changed


def criteria(statement: Any) -> tuple[Any, ...]:
    """Return the conditions that ``where()`` put into a SELECT, UPDATE or DELETE."""
    return tuple(statement._where_criteria)


def with_criteria(statement: Any, changed: list[Any]) -> Any:
    """Return a copy of a statement with other conditions."""
    copied = statement._generate()
    copied._where_criteria = tuple(changed)
    return copied


def held_params(statement: Any) -> Mapping[str, Any]:
    """Return what ``params()`` gave a statement's parameters; before SQLAlchemy 2.1 it went into these."""
    return getattr(statement, "_params", None) or {}


def clauses_of(select: Any) -> list[Any]:
    """Return what a SELECT consists of: its columns, FROMs, joins, conditions, groups and order."""
    joined = [part for target, on, *_ in select._setup_joins for part in (target, on) if part is not None]
    return [
        *(*select._raw_columns, *select._from_obj, *joined, *select._where_criteria),
        *(*select._having_criteria, *select._group_by_clauses, *select._order_by_clauses),
    ]


def on_clauses(statement: Any) -> list[Any]:
    """Return the conditions of what ``join()`` put into a SELECT; ``None`` for one of a relationship."""
    return [
        on if isinstance(on, ColumnElement | LambdaElement) else None
        for _, on, _, _ in statement._setup_joins
    ]


def with_on_clauses(statement: Any, changed: list[Any]) -> Any:
    """Return a copy of a SELECT with other conditions in its joins."""
    copied = statement._generate()
    copied._setup_joins = tuple(
        (target, one if one is not None else on, *rest)
        for (target, on, *rest), one in zip(statement._setup_joins, changed, strict=True)
    )
    return copied


def marked_like(column: ColumnElement[Any], other: Any) -> ColumnElement[Any]:
    """Return a column with the marks of another that ``foreign()`` and ``remote()`` have set."""
    found = getattr(other, "_annotations", {})
    marks = {name: found[name] for name in ("foreign", "remote") if name in found}
    return column._annotate(marks) if marks else column


def leave_out(column: Column[Any]) -> None:
    """Have a column left out of ``select(table)`` and of mappers, as ``insert_sentinel()``'s are."""
    column._omit_from_statements = True


def is_temporary(table: Table) -> bool:
    """Return whether a table is declared ``prefixes=["TEMPORARY"]``."""
    return any("TEMP" in str(one).upper() for one in table._prefixes)


def upsert_clause(statement: Insert) -> Any:
    """Return the ON CONFLICT or ON DUPLICATE KEY clause of an INSERT, or ``None``."""
    return statement._post_values_clause


def upsert_targets(statement: Insert) -> set[str]:
    """Return the names and keys of the columns in which ON CONFLICT looks for a conflict."""
    found: set[str] = set()
    for target in getattr(upsert_clause(statement), "inferred_target_elements", None) or ():
        for part in () if isinstance(target, str) else iterate(target):
            found |= {str(getattr(part, "key", "")), str(getattr(part, "name", ""))}
        found |= {target} if isinstance(target, str) else set()
    return found


def upsert_assignments(statement: Insert) -> list[tuple[Any, Any]] | None:
    """Return what a conflict sets, as pairs of a column or name and a value; ``None`` for nothing."""
    clause = upsert_clause(statement)
    given = getattr(clause, "update_values_to_set", getattr(clause, "update", None))
    if given is None:
        return None
    return list(given.items() if isinstance(given, dict) else given)


def upsert_takes_condition(statement: Insert) -> bool:
    """Return whether the clause is ON CONFLICT DO UPDATE, which may have a WHERE."""
    return hasattr(upsert_clause(statement), "update_whereclause")


def with_upsert(
    statement: Insert, assignments: list[tuple[Any, Any]], condition: ColumnElement[bool] | None = None
) -> Insert:
    """Return a copy of an INSERT whose clause sets other values, under a further condition if given one."""
    clause = copy(upsert_clause(statement))
    name = "update_values_to_set" if upsert_takes_condition(statement) else "update"
    setattr(clause, name, dict(assignments) if isinstance(getattr(clause, name), dict) else assignments)
    if condition is not None:
        before = clause.update_whereclause
        clause.update_whereclause = condition if before is None else and_(before, condition)
    changed: Insert = statement._generate()
    changed._post_values_clause = clause
    return changed


def is_from_select(statement: Insert) -> bool:
    """Return whether an INSERT takes its rows from a SELECT."""
    return statement.select is not None


def is_sorted_by_key(statement: Insert) -> bool:
    """Return whether an INSERT's RETURNING is sorted by primary keys, one of which is sealed."""
    table: Any = statement.table
    asked = statement._returning and statement._sort_by_parameter_order
    if not asked or any(column._insert_sentinel for column in table.c):
        return False
    return any(hasattr(column.type, "sealed_column") for column in table.primary_key)


def refreshed_state(execution: ORMExecuteState) -> Any:
    """Return the state of the instance whose columns a SELECT loads, or ``None``."""
    return getattr(execution.load_options, "_refresh_state", None)


def bulk_persists(execution_options: Any) -> bool:
    """Return whether a statement is the unit of work's own, known by its mapper's compiled cache.

    Applications give a dict of their own, or ``None``.
    """
    return isinstance(execution_options.get("compiled_cache"), LRUCache)
