"""Where a candidate may stand: beside others by AND in the WHERE clause of a SELECT that gives its column.

There, dropping a row once it is opened is the same as not finding it. Anywhere else the database would go on
with rows that were not asked for, and the statement is refused before it is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Delete,
    FunctionFilter,
    Insert,
    Over,
    Select,
    Update,
    WithinGroup,
)
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.columns.asked import chosen_slot
from sqlalchemy_cmk.columns.candidates import Candidate, compiled_candidates, conjuncts
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.token_columns import TokenIndex
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.positions import Objects, unlabelled
from sqlalchemy_cmk.hooks.unsupported.selecting import own_elements
from sqlalchemy_cmk.search.storage import refuse_without_storage

# The aggregates of PostgreSQL, SQLite and MariaDB. Others, with a column beside them and no GROUP BY, are
# refused by PostgreSQL, and by MariaDB as it is set up.
_AGGREGATES = frozenset(
    (
        *("any_value", "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr"),
        *("count", "covar_pop", "covar_samp", "every", "group_concat", "json_agg", "json_agg_strict"),
        *("json_arrayagg", "json_group_array", "json_group_object", "json_object_agg", "json_objectagg"),
        *("jsonb_agg", "jsonb_agg_strict", "jsonb_group_array", "jsonb_group_object", "jsonb_object_agg"),
        *("max", "median", "min", "mode", "percentile_cont", "percentile_disc", "range_agg"),
        *("range_intersect_agg", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2"),
        *("regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "std", "stddev", "stddev_pop", "stddev_samp"),
        *("string_agg", "sum", "total", "var_pop", "var_samp", "variance", "xmlagg"),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """One candidate of a compiled SELECT.

    Attributes:
        candidate: the candidate.
        index: the index that finds it.
        table: the FROM whose rows are found.
        parameter: the name of the parameter with the value that is asked for.
    """

    candidate: Candidate
    index: TokenIndex
    table: Any
    parameter: str

    @property
    def column(self) -> SealedColumn:
        """The column that is compared again."""
        return self.index.sealed

    def is_given_by(self, objects: tuple[Any, ...]) -> bool:
        """Return whether a column of a result, by the objects that it stands for, is the one compared."""
        return any(
            isinstance(one, ColumnClause)
            and hash(one.table) == hash(self.table)
            and self.column.column in one.base_columns
            for one in map(unlabelled, objects)
        )


_places: WeakKeyDictionary[Compiled, tuple[Place, ...]] = WeakKeyDictionary()


def places_of(compiled: Any) -> tuple[Place, ...]:
    """Return the candidates of a compiled statement that :func:`refuse_misplaced` has let pass."""
    return _places.get(compiled, ())


def refuse_candidates(connection: Connection, context: Any) -> None:
    """Refuse an execution whose candidates could not be dropped, or are not all found.

    Raises:
        UnsupportedOperation: saying what to do.
    """
    refuse_misplaced(context.compiled)
    for place in places_of(context.compiled):
        slot = chosen_slot(context.compiled, place.index)
        number = 0 if slot is None else slot.number
        refuse_without_storage(place.index, number, connection, context.execution_options)


def refuse_misplaced(compiled: Any) -> None:
    """Refuse a compiled statement in which a candidate stands where its rows cannot be dropped.

    Raises:
        UnsupportedOperation: naming what answers exactly.
    """
    candidates = compiled_candidates(compiled)
    if candidates and compiled not in _places:
        select = private.compiled_select(compiled)
        if select is None:
            _refuse(candidates[0], f"in {_title(compiled.statement)}")
        _refuse_place(select, candidates)
        places = [_place(compiled, one) for one in dict.fromkeys(candidates)]
        for place in places:
            _refuse_absent(place, private.compiled_columns(compiled))
        _places[compiled] = tuple(places)


def _refuse_place(select: Select[Any], candidates: Sequence[Candidate]) -> None:
    allowed = [one for one in conjuncts(select.whereclause) if isinstance(one, Candidate)]
    # Counted: one object may stand in the WHERE clause and elsewhere.
    misplaced = Counter(map(id, candidates)) - Counter(map(id, allowed))
    for one in candidates:
        if id(one) in misplaced:
            _refuse(one, _elsewhere(select, one))
    if private.grouping(select) or private.having(select):
        _refuse(candidates[0], "in a SELECT with GROUP BY or HAVING")
    if private.distinct_on(select):
        _refuse(candidates[0], "in a SELECT with DISTINCT ON")
    for part in own_elements(select):
        if private.distinct_on(part):
            _refuse(candidates[0], "in a SELECT with DISTINCT ON")
        if isinstance(part, Over | WithinGroup | FunctionFilter) or _is_aggregate(part):
            _refuse(
                candidates[0],
                "in a SELECT with an aggregate or a window, which the database computes before",
            )


def _elsewhere(select: Select[Any], candidate: Candidate) -> str:
    where = select.whereclause
    if where is not None and any(one is candidate for one in iterate(where)):
        return "inside of OR, NOT, a comparison, a function or a subquery"
    return (
        "in a subquery, a CTE, the ON of a join or a list of columns; with joinedload() and a LIMIT, "
        "SQLAlchemy makes a subquery: load by selectinload()"
    )


def _title(statement: Any) -> str:
    for kind in (Insert, Update, Delete):
        if isinstance(statement, kind):
            return f"an {kind.__name__.upper()}" if kind is not Delete else "a DELETE"
    return "a UNION" if isinstance(statement, CompoundSelect) else "a statement that is no SELECT"


def _is_aggregate(part: Any) -> bool:
    return isinstance(part, FunctionElement) and str(getattr(part, "name", "")).lower() in _AGGREGATES


def _place(compiled: Any, candidate: Candidate) -> Place:
    index, table = candidate.source
    parameter = private.parameter_name(compiled, candidate.parameter)
    if parameter is None:
        _refuse(candidate, "without the value that is asked for")
    return Place(candidate, index, table, parameter)


def _refuse_absent(place: Place, columns: Sequence[Any]) -> None:
    """Refuse a SELECT that does not give the column that is compared again."""
    for _, _, objects, type_ in columns:
        if isinstance(type_, EncryptedType) and place.is_given_by(objects):
            return
    _refuse(place.candidate, f"in a SELECT that does not give {place.column.where}: select that too")


def find_column(place: Place, objects: Objects, indexes: Sequence[int]) -> int | None:
    """Return where the rows of a result carry the column that is compared again.

    Args:
        place: the candidate.
        objects: the columns and labels that each column of the rows stands for.
        indexes: where the rows carry sealed columns that are opened.
    """
    return next((at for at in indexes if place.is_given_by(objects[at])), None)


def _refuse(candidate: Candidate, why: str) -> NoReturn:
    index, _ = candidate.source
    instead = candidate.recheck.exact or "select the rows, and count, combine or change them by their keys"
    raise UnsupportedOperation(
        f"{index.sealed.where}: the index {index.index.suffix!r} finds candidates for this question, which "
        "are compared again once they are opened: it may stand beside others by AND in the WHERE clause of a "
        f"SELECT of rows, not {why}. {instead[0].upper()}{instead[1:]}"
    )
