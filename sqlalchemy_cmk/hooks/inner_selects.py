"""Finds the SELECTs inside a statement, at a small part of the cost of SQLAlchemy's general traversal.

It is done for each execution, since the values of a statement are not in its cache. Of what it misses nothing
is rewritten, and so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, ClauseElement, Select, TableClause
from sqlalchemy.sql.elements import BooleanClauseList
from sqlalchemy.sql.expression import ColumnClause

from sqlalchemy_cmk.columns.asked import Asked
from sqlalchemy_cmk.databases import sqlalchemy_private as private

_LEAVES = (BindParameter, TableClause, Asked)


def selects_in(statement: Any) -> Iterator[Select[Any]]:
    """Return the SELECTs inside a statement, each once, without itself."""
    seen: set[int] = set()
    waiting = _parts(statement)
    while waiting:
        one = waiting.pop()
        if isinstance(one, ColumnClause):
            one = one.table
        if one is None or isinstance(one, _LEAVES):
            continue
        if isinstance(one, BinaryExpression):
            waiting += (one.left, one.right)
        elif isinstance(one, BooleanClauseList):
            waiting += one.clauses
        elif isinstance(one, ClauseElement) and id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, Select) and one is not statement:
                yield one
            waiting += _parts(one)


def _parts(element: Any) -> list[Any]:
    if isinstance(element, Select):
        return private.clauses_of(element)
    return list(element.get_children())
