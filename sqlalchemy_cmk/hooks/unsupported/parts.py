"""All elements of a statement, those that SQLAlchemy adds when it compiles it included."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ClauseElement, CompoundSelect, Delete, Insert, Select, TableClause, Update
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.expression import ColumnClause

from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.unsupported.operands import held, kind_of

_STATEMENTS = (Select, CompoundSelect, Insert, Update, Delete)


def parts_of(compiled: Compiled) -> Iterator[Any]:
    """Return all elements of a compiled statement, each once, a parent before its children.

    The ORM makes other statements of its own: joins of relationships, expressions of column properties,
    criteria of loader options. These are looked at as well as what was written.
    """
    seen: dict[int, Any] = {}  # holds the elements, so that no other gets the id of one
    for one in private.whole_statements(compiled):
        yield from _walk(one, seen)
    if any(private.is_rewritten(one) for one in list(seen.values())):
        for one in private.core_statements(compiled):
            yield from _walk(one, seen)


def concerns_sealed(element: Any) -> bool:
    """Return whether an element may hold sealed values, as far as can be seen without its parts.

    Of a statement of which this holds for no element there is nothing to refuse.
    """
    if isinstance(element, Insert | Update | Delete | ExecutableDDLElement) or is_foreign(element):
        return True
    if isinstance(element, TableClause):
        return any(held(column) is not None for column in element.c)
    return held(element) is not None


def is_foreign(element: Any) -> bool:
    """Return whether an element is of a class of the application's own."""
    return not kind_of(element).__module__.startswith("sqlalchemy.")


def children(element: Any) -> Iterable[Any]:
    """Return the elements that an element consists of.

    A class of the application's may say nothing of them: then they are found among its attributes.
    """
    found: list[Any] = list(element.get_children())
    clause = private.upsert_clause(element) if isinstance(element, Insert) else None
    if clause is not None:
        found.append(clause)
    if isinstance(element, ExecutableDDLElement):
        found += _attributes((getattr(element, "selectable", None),))
    if (is_foreign(element) and not isinstance(element, ColumnClause | ExecutableDDLElement)) or isinstance(
        element, private.UPSERT_CLAUSES
    ):
        known = _statement_class(element)
        found += _attributes(value for name, value in vars(element).items() if not hasattr(known, name))
    return found


def _statement_class(element: Any) -> type[Any] | None:
    """Return the class of SQLAlchemy's that a statement of another class is; ``None`` for other elements.

    Of a statement, SQLAlchemy says what it consists of; the rest that it holds was worked out from that. Such
    a class is SQLModel's ``SelectOfScalar``.
    """
    return next((one for one in _STATEMENTS if isinstance(element, one)), None)


def _attributes(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, ClauseElement):
            yield value
        elif isinstance(value, list | tuple | set | frozenset):
            yield from _attributes(value)
        elif isinstance(value, dict):
            yield from _attributes(value.values())
        elif hasattr(value, "__clause_element__"):
            yield from _attributes((value.__clause_element__(),))


def _walk(root: Any, seen: dict[int, Any]) -> Iterator[Any]:
    waiting = deque([root])
    while waiting:
        element = waiting.popleft()
        if id(element) not in seen:
            seen[id(element)] = element
            yield element
            waiting.extend(one for one in children(element) if isinstance(one, ClauseElement))
