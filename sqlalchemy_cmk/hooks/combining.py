"""Equalities of several columns, joined by AND, become one of the tokens of an index over these columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, TypeCoerce, and_, bindparam, or_
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, Grouping
from sqlalchemy.sql.operators import OperatorType

from sqlalchemy_cmk.columns.asked import Asked
from sqlalchemy_cmk.columns.asking import hidden_of
from sqlalchemy_cmk.columns.candidates import Candidate, conjuncts
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.compounds import COMBINED, Combination, CompoundIndex, compounds_of
from sqlalchemy_cmk.columns.refused import RefusedOperation
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.search.normalizers import identity
from sqlalchemy_cmk.search.rechecks import IsEqual


@dataclass(frozen=True, slots=True)
class _Equality:
    """A condition that compares a sealed column with a value, or with several.

    Attributes:
        condition: the condition.
        column: the sealed column.
        expression: the column, or its hidden one, of the FROM whose rows are compared.
        operator: ``eq`` or ``in_op``.
        value: the Python value, or a list.
        name: of the parameter that gives it.
    """

    condition: Any
    column: SealedColumn
    expression: Any
    operator: OperatorType
    value: Any
    name: str


class Combining:
    """Puts the conditions of one execution's WHERE and ON clauses into their combined form.

    Args:
        params: the values of named parameters; ``None`` if there are several sets of them.

    Attributes:
        used: the names of the parameters whose values are in what was combined.
    """

    def __init__(self, params: Mapping[str, Any] | None) -> None:
        self._params = params
        self.used: set[str] = set()

    def know(self, params: Mapping[str, Any]) -> None:
        """Note what ``params()`` of a statement gives named parameters; an outer statement goes first."""
        if params and self._params is not None:
            self._params = {**params, **self._params}

    def of(self, conditions: Sequence[Any]) -> Sequence[Any]:
        """Return conditions, all of which have to hold, combined; or the same ones."""
        flat = [one for condition in conditions for one in conjuncts(condition)]
        combined = list(self._combined(flat))
        changed = [self._inside(one) for one in combined]
        same = len(changed) == len(flat) and all(a is b for a, b in zip(changed, flat, strict=True))
        return conditions if same else changed

    def _inside(self, condition: Any) -> Any:
        """Return a condition with the branches of an OR combined; under NOT, NULL would be taken for no."""
        inner = condition.element if isinstance(condition, Grouping) else condition
        if not isinstance(inner, BooleanClauseList) or inner.operator is not operators.or_:
            return condition
        branches = [(one, self.of((one,))) for one in inner.clauses]
        if all(len(found) == 1 and found[0] is one for one, found in branches):
            return condition
        return or_(*(and_(*found) for _, found in branches))

    def _combined(self, conditions: list[Any]) -> Iterator[Any]:
        equalities = [found for one in conditions if (found := self._equality(one)) is not None]
        replaced: dict[int, Any] = {}
        for compound, parts in _groups(equalities):
            if any(id(part.condition) in replaced for part in parts):
                continue
            answer = self._answer(compound, parts)
            if answer is not None:
                replaced.update({id(part.condition): None for part in parts})
                replaced[id(parts[0].condition)] = answer
        for one in conditions:
            found = replaced.get(id(one), one)
            if found is not None:
                yield found

    def _answer(self, compound: CompoundIndex, parts: Sequence[_Equality]) -> Any:
        several = next((i for i, part in enumerate(parts) if part.operator is operators.in_op), None)
        try:
            hidden = hidden_of(parts[0].expression, compound)
        except UnsupportedOperation:
            return None  # of a subquery
        self.used.update(part.name for part in parts)
        type_ = TokenType(compound.index, "", compound)
        values = [part.value for part in parts]
        tokens = Asked(hidden, compound)
        if several is None:
            return tokens == bindparam(None, _known(values), type_=type_, unique=True)
        rows = [_known([*values[:several], one, *values[several + 1 :]]) for one in values[several]]
        known = [one for one in rows if one is not None]
        return tokens.in_(bindparam(None, known, type_=type_, unique=True, expanding=True))

    def _equality(self, condition: Any) -> _Equality | None:
        part = condition
        if isinstance(part, Candidate):
            if part.recheck != IsEqual():  # what is not compared as it is, is another question
                return None
            part = part.clause.element if isinstance(part.clause, Grouping) else part.clause
        if not isinstance(part, BinaryExpression) or part.operator not in COMBINED:
            return None
        column, expression = _column(part, is_candidate=part is not condition)
        right = part.right.clause if isinstance(part.right, TypeCoerce) else part.right
        if column is None or not isinstance(right, BindParameter):
            return None
        known, value = self._value(right)
        if not known or (part.operator is operators.in_op and not isinstance(value, list | tuple)):
            return None
        return _Equality(condition, column, expression, part.operator, value, right.key)

    def _value(self, bind: BindParameter[Any]) -> tuple[bool, Any]:
        """Return whether the value of a parameter is known, and the value."""
        if self._params and bind.key in self._params:
            return True, self._params[bind.key]
        if bind.callable is not None or bind.required or (self._params is None and not bind.unique):
            return False, None
        return True, bind.value


def _groups(equalities: list[_Equality]) -> Iterator[tuple[CompoundIndex, list[_Equality]]]:
    """Return the indexes all of whose columns are compared, with what each is compared with."""
    found: dict[tuple[int, CompoundIndex], dict[SealedColumn, _Equality]] = {}
    for one in equalities:
        type_ = one.column.column.type
        for compound in compounds_of(type_) if isinstance(type_, EncryptedType) else ():
            # The ORM's annotated copy of a table has its hash; an alias has not.
            found.setdefault((hash(one.expression.table), compound), {}).setdefault(one.column, one)
    # The index over most columns first: it tells most rows apart.
    for (_, compound), by_column in sorted(found.items(), key=lambda pair: -len(pair[0][1].columns)):
        parts = [by_column[column] for column in compound.columns if column in by_column]
        several = [part for part in parts if part.operator is operators.in_op]
        if len(parts) == len(compound.columns) and len(several) <= 1:
            yield compound, parts


def _column(part: BinaryExpression[Any], *, is_candidate: bool) -> tuple[SealedColumn | None, Any]:
    """Return the sealed column whose values a condition compares as they are, and the column of its FROM."""
    left = part.left
    if isinstance(left, Asked):
        index = left.index.index
        as_they_are = is_candidate or getattr(index, "normalize", identity) == identity
        is_whole = not isinstance(left.index, CompoundIndex) and left.type.part == ""  # type: ignore[attr-defined]
        return (left.index.sealed, left.clause) if as_they_are and is_whole else (None, None)
    column = left.type.sealed_column if isinstance(left.type, EncryptedType) else None
    known = isinstance(part, RefusedOperation) or (column is not None and column.scheme.deterministic)
    if column is None or not known or getattr(left, "table", None) is None:
        return None, None
    return column, left


def _known(values: Sequence[Any]) -> Combination | None:
    """Return values together; ``None`` if one is NULL, which is equal to nothing."""
    together = Combination(values)
    return None if together.has_null else together
