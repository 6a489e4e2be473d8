"""SELECT and UNION: what is ordered, grouped, made distinct and put into one column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    CompoundSelect,
    FromClause,
    Label,
    Select,
    SelectBase,
    TextClause,
    Tuple,
)
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.sql.selectable import AliasedReturnsRows
from sqlalchemy.types import ARRAY

from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported.operands import (
    are_alike,
    flat,
    held,
    is_null,
    is_random,
    is_row_bound,
    is_sealed,
    kind_of,
    selected_of,
    unwrapped,
    where,
)
from sqlalchemy_cmk.hooks.unsupported.parts import children
from sqlalchemy_cmk.hooks.unsupported.refusals import (
    refuse_grouping,
    refuse_mixture,
    refuse_order,
    refuse_plain,
    refuse_type,
    refuse_use,
)

_WORD = re.compile(r"\w+")


def check_select(select: Select[Any] | CompoundSelect[Any]) -> None:
    """Refuse what a SELECT or UNION does with sealed columns that they cannot serve."""
    names = _Names(select)
    for one in private.ordering(select):
        check_order(one, names)
    check_groups("GROUP BY", private.grouping(select), names)
    check_groups("DISTINCT ON", private.distinct_on(select), names, whole_rows=False)
    for element in own_elements(select):
        for clause in order_by_of(element):
            check_order(clause, names)
        check_groups("PARTITION BY", partition_by_of(element), names)
        if kind_of(element) is private.DISTINCT_ON:
            check_groups("DISTINCT ON", private.distinct_on(element), names, whole_rows=False)
    if isinstance(select, CompoundSelect):
        _check_union(select)
        return
    columns = list(select.selected_columns)
    check_columns(columns)
    if private.is_distinct(select):
        check_groups("SELECT DISTINCT", columns, names)
    listed = [*private.raw_columns(select), *private.grouping(select), *private.distinct_on(select)]
    check_rest(select, listed)


def check_rest(statement: Any, listed: Iterable[Any]) -> None:
    """Refuse sealed expressions anywhere in a statement but in lists of columns: as criteria, as a LIMIT."""
    known = {id(one) for one in listed}
    for child in children(statement):
        if id(child) not in known:
            for one in flat(child):
                sealed = held(one) if isinstance(one, ColumnElement) else None
                if sealed is not None and id(one) not in known:
                    refuse_use(statement, sealed)


def check_columns(columns: Iterable[Any]) -> None:
    """Refuse a result column whose sealed values would not be opened: whole rows, sealed types in others."""
    for column in columns:
        sealed = held(column)
        if sealed is not None and not is_sealed(column) and not isinstance(column.type, ARRAY):
            refuse_use(column, sealed)


def check_order(element: Any, names: _Names | None = None) -> None:
    """Refuse an element of an ORDER BY that is a sealed column, in whatever form."""
    for one in _resolved(element, names):
        sealed = held(one)
        if sealed is not None:
            refuse_order(sealed)


def check_groups(
    what: str, elements: Sequence[Any], names: _Names | None = None, *, whole_rows: bool = True
) -> None:
    """Refuse to ask which values of a randomized column are equal.

    Whole rows are another matter: where the primary key is among the elements, rows are equal if they are
    the same.
    """
    resolved = [one for element in elements for one in _resolved(element, names)]
    for one in resolved:
        for part in one.clauses if isinstance(one, Tuple) else (one,):
            sealed = held(part)
            if sealed is not None and is_random(sealed) and not (whole_rows and _is_of_row(part, resolved)):
                refuse_grouping(what, sealed)


def own_elements(select: Any) -> Iterator[Any]:
    """Return the elements of a SELECT, without those of the SELECTs inside it."""
    waiting = list(children(select))
    seen = set()
    while waiting:
        element = waiting.pop()
        if id(element) in seen:
            continue
        seen.add(id(element))
        yield element
        if not isinstance(element, SelectBase) and selected_of(element) is None:
            inner = () if isinstance(element, AliasedReturnsRows) else children(element)
            waiting += [one for one in inner if not isinstance(one, SelectBase)]


def order_by_of(element: Any) -> list[Any]:
    """Return the ORDER BY of a window or an aggregate."""
    return _clauses(element, "order_by")


def partition_by_of(element: Any) -> list[Any]:
    """Return the PARTITION BY of a window."""
    return _clauses(element, "partition_by")


def _clauses(element: Any, name: str) -> list[Any]:
    found = getattr(element, name, None) if isinstance(element, ColumnElement) else None
    return list(flat(found)) if isinstance(found, ClauseElement) else []


def _is_of_row(element: Any, elements: Sequence[Any]) -> bool:
    """Return whether the primary key of a column's row is among some elements."""
    type_ = element.type
    table = getattr(element, "table", None)
    if not isinstance(type_, EncryptedType) or type_.sealed_column is None or table is None:
        return False
    keys = list(type_.sealed_column.table.primary_key)
    return bool(keys) and all(any(_is_column(one, key, table) for one in elements) for key in keys)


def _is_column(element: Any, column: Column[Any], table: Any) -> bool:
    return hash(getattr(element, "table", None)) == hash(table) and column in element.base_columns


def _resolved(element: Any, names: _Names | None) -> Iterator[Any]:
    """Return what an element of ORDER BY or GROUP BY stands for."""
    for one in flat(element):
        inner = unwrapped(one)
        if held(inner) is None and held(one) is not None:
            inner = one
        yield inner
        if names is not None:
            yield from names.meant_by(inner)


class _Names:
    """The sealed columns that names in a SELECT can mean: of what it selects, and of its FROMs."""

    def __init__(self, select: Any) -> None:
        self._columns = list(select.selected_columns)
        self._froms = [one for one in own_elements(select) if isinstance(one, FromClause)]
        self._by_name: dict[str, Any] | None = None

    def meant_by(self, element: Any) -> Iterator[Any]:
        """Return the sealed columns that a name, a number or SQL text in an ORDER BY stands for."""
        text = private.text_of(element)
        if text is None:
            return
        if text.strip().isdecimal():
            position = int(text) - 1
            yield from self._columns[position : position + 1]
        by_name = self._known()
        for word in {text, *(_WORD.findall(text) if isinstance(element, TextClause | ColumnClause) else ())}:
            if word in by_name:
                yield by_name[word]

    def _known(self) -> dict[str, Any]:
        if self._by_name is None:
            columns = [*(one for source in self._froms for one in source.c), *self._columns]
            # What is selected comes last: a label hides a column of its name.
            self._by_name = {}
            for one in columns:
                for name in (getattr(one, "key", None), getattr(one, "name", None)):
                    if isinstance(name, str):
                        self._by_name[name] = unwrapped(one) if isinstance(one, Label) else one
        return {name: one for name, one in self._by_name.items() if held(one) is not None}


def _check_union(union: CompoundSelect[Any]) -> None:
    """Refuse a UNION whose columns hold values that do not open alike."""
    branches = [selected_of(one) or () for one in union.selects]
    sealed = [type_ for columns in branches for one in columns if (type_ := held(one)) is not None]
    if not sealed:
        return
    what = union.keyword.value
    if len({len(columns) for columns in branches}) != 1 or any(map(_has_text, union.selects)):
        raise UnsupportedOperation(
            f"{what} with {where(sealed[0])}: its SELECTs have to list their columns one by one, as columns"
        )
    for position in zip(*branches, strict=True):
        _check_position(union, position)
    layouts = [_layout(columns) for columns in branches]
    if any(one[at] != other[at] for one in layouts for other in layouts for at in one.keys() & other.keys()):
        raise UnsupportedOperation(
            f"{what} with {where(sealed[0])}: its SELECTs carry the tenant column, or the columns of the row "
            "identity, in different places: select them in the same order everywhere"
        )
    if what != "UNION ALL":
        for columns in branches:
            check_groups(what, [unwrapped(one) if isinstance(one, Label) else one for one in columns])


def _has_text(branch: Any) -> bool:
    return any(isinstance(one, TextClause) for one in private.raw_columns(branch))


def _check_position(union: CompoundSelect[Any], position: Sequence[Any]) -> None:
    types = [held(one) for one in position if not is_null(one)]
    sealed = [type_ for type_ in types if type_ is not None]
    if not sealed:
        return
    if len(sealed) < len(types):
        refuse_plain(union, sealed[0])
    for type_ in sealed:
        if not are_alike(type_, sealed[0]):
            refuse_mixture(union.keyword.value, sealed[0], type_)
    first = held(position[0])
    if first is None or not are_alike(first, sealed[0]):
        refuse_type(union, sealed[0])


def _layout(columns: Sequence[Any]) -> dict[int, tuple[int | None, ...]]:
    """Return, for the position of each sealed column, those of its tenant and its row's identity."""
    found = {}
    for position, one in enumerate(columns):
        type_ = held(one)
        column = None if type_ is None else type_.sealed_column
        if type_ is None or column is None or is_null(one):
            continue
        source = tenant_source(column.table) if column.is_tenants else None
        needed = [] if source is None else [source.column]
        needed += identity_of(column.table).columns if is_row_bound(type_) else ()
        found[position] = tuple(_index(each, columns) for each in needed)
    return found


def _index(column: Column[Any], columns: Sequence[Any]) -> int | None:
    for index, one in enumerate(columns):
        if column in getattr(unwrapped(one), "base_columns", ()):
            return index
    return None
