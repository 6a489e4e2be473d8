"""Questions of intervals of tokens: does a value begin with a text, is it between two others.

A question becomes ``token BETWEEN :low AND :high OR ...``, of as many intervals as the question needs,
whatever the key is. Each bound depends on all values of the question, which are known when the statement is
executed: a parameter that the caller gave by name, or a variable of a lambda, serves as well as a value.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ClauseElement,
    ColumnElement,
    TypeCoerce,
    bindparam,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import ColumnOperators, OperatorType

from sqlalchemy_cmk.columns.indexes import Question, Tokens
from sqlalchemy_cmk.columns.presealed import Unsealed
from sqlalchemy_cmk.columns.token_columns import TokenType, Untokened
from sqlalchemy_cmk.databases import sqlalchemy_private as private

Interval = tuple[bytes, bytes]

# No token is between.
NOTHING: Interval = (b"\x01", b"")


class IntervalTokens(Tokens):
    """Makes the tokens of an index that answers by intervals."""

    @abstractmethod
    def intervals(self, asked: Hashable, values: Sequence[Any]) -> list[Interval]:
        """Return the least and the greatest token of each interval in which the answer to a question is.

        Args:
            asked: what is asked, as the index has put it.
            values: what the caller gave, none of which is ``None``.

        Raises:
            InvalidValue: the values are none that the index can be asked for.
        """


@dataclass(frozen=True, slots=True)
class Intervals:
    """What a condition asks: part of its type, and so of the statement's cache key.

    Attributes:
        asked: what is asked, as the index puts it.
        slots: how many intervals there are.
    """

    asked: Hashable
    slots: int


class Within(FunctionElement[bool]):
    """A condition that holds where a token is in one of some intervals.

    Args:
        question: the operation that it answers.
        asked: what the index is asked, for :meth:`IntervalTokens.intervals`.
        operands: the values, each as a Python value or a parameter.
        slots: the most intervals that any key and any values make of it.
    """

    inherit_cache = True
    name = "within"
    type = Boolean()

    def __init__(self, question: Question, asked: Hashable, operands: Sequence[Any], slots: int = 1) -> None:
        column = question.tokens(Intervals(asked, slots))
        super().__init__(column, *(_typed(one, column.type) for one in operands))

    def self_group(self, against: OperatorType | None = None) -> Within:
        """Return it as it is, with brackets of its own.

        SQLite and MariaDB have no booleans: for them SQLAlchemy would write ``(...) = 1``, which no index
        answers.
        """
        return self


def is_known(operand: Any) -> bool:
    """Return whether an operand is a Python value, known when the expression is built, and no SQL."""
    return not (
        isinstance(operand, ClauseElement | ColumnOperators) or hasattr(operand, "__clause_element__")
    )


def is_parameter(operand: Any) -> bool:
    """Return whether an operand is a parameter, or a variable of a lambda statement."""
    element = _element(operand)
    is_variable = isinstance(element, ColumnOperators) and not isinstance(element, ClauseElement)
    return is_variable or isinstance(element, BindParameter)


def _element(operand: Any) -> Any:
    return operand.__clause_element__() if hasattr(operand, "__clause_element__") else operand


def _typed(operand: Any, type_: Any) -> ColumnElement[Any]:
    if is_known(operand):
        return bindparam(None, operand, type_=type_, unique=True)
    # Around the parameter: a lambda statement puts another in its place, of another type.
    return type_coerce(_element(operand), type_)


class SlotType(TokenType):
    """The type of one bound, in one compiled statement.

    Args:
        column: the type of the condition's column.
        slot: which of the intervals, from 0 on.
        side: 0 for its least token, 1 for the greatest.
    """

    cache_ok = True

    def __init__(self, column: TokenType, slot: int, side: int) -> None:
        super().__init__(column.index, column.part, column.token_index)
        self.slot, self.side = slot, side
        # The parameters with the values of the question: named when they are compiled, which copies the type.
        self.names: list[str] = []

    @property
    def asked(self) -> Intervals:
        """What the condition asks."""
        return self.part  # type: ignore[return-value]

    @property
    def use(self) -> Any:
        """What a parameter of the type stands for; those that stand for the same may share a name."""
        return super().use, self.slot, self.side

    def hide(self, value: Any) -> Unsealed:
        """Return a value so that no driver takes it; also one that was hidden before it had this type."""
        return Untokened(self, value.value if isinstance(value, Unsealed) else value)

    def values(self, parameters: dict[str, Any]) -> tuple[Any, ...]:
        """Return the values of the question.

        Args:
            parameters: of the execution, by name, before they were bound.
        """
        found = [parameters[name] for name in self.names]
        return tuple(one.value if isinstance(one, Unsealed) else one for one in found)


@compiles(Within)
def _compile(element: Within, compiler: Any, **options: Any) -> str:
    column, *operands = element.clauses
    type_: Any = column.type
    slots = type_.part.slots
    types = [[SlotType(type_, slot, side) for side in (0, 1)] for slot in range(slots)]
    given: list[Any] = [
        private.retyped(one.clause if isinstance(one, TypeCoerce) else one, types[0][side])  # type: ignore[arg-type]
        for side, one in enumerate(operands)
    ]
    texts = [[compiler.process(one, **options) for one in given], *([] for _ in range(1, slots))]
    names = [compiler.bind_names[one] for one in given]
    for slot, sides in enumerate(types):
        for bound in sides:
            bound.names[:] = names
            if len(texts[slot]) <= bound.side:
                # Its value is not looked at: it stands for the values of the question.
                one = bindparam(None, True, type_=bound, unique=True)
                texts[slot].append(compiler.process(one, **options))
    left = compiler.process(column, **options)
    return f"({' OR '.join(f'{left} BETWEEN {low} AND {high}' for low, high in texts)})"
