"""What ``Range`` and ``Ordered`` have in common: values of a domain, and what is asked of them."""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType

from sqlalchemy_cmk.codec import Codec, codec_for
from sqlalchemy_cmk.columns.indexes import Question, SearchIndex
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.search.domains import Domain
from sqlalchemy_cmk.search.intervals import Interval, IntervalTokens, Within, is_known, is_parameter

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

_EQUALITY = (operators.eq, operators.ne, operators.is_distinct_from, operators.is_not_distinct_from)
_MEMBERSHIP = (operators.in_op, operators.not_in_op)
_SIGNS: dict[OperatorType, str] = {
    **{operators.ge: ">=", operators.gt: ">", operators.le: "<=", operators.lt: "<"},
    operators.between_op: "between",
}
_KINDS = {int: "int", dt.date: "date", dt.datetime: "datetime", Decimal: "Decimal"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is asked of a number: which numbers it is between, given the values that it is compared with.

    Attributes:
        sign: ``>=``, ``>``, ``<=``, ``<`` or ``between``.
        symmetric: whether the two values of ``between`` may stand in either order.
    """

    sign: str
    symmetric: bool = False

    def numbers(self, domain: Domain, values: Sequence[Any]) -> tuple[int, int]:
        """Return the first and the last number; the last is less than the first where there is none.

        Raises:
            InvalidValue: a value is of another type than those of the domain.
        """
        values = [comparable(value, domain) for value in values]
        low, high = 0, (1 << domain.bits) - 1
        if self.sign == "between":
            if self.symmetric:
                values = sorted(values)
            return domain.clip(values[0], ">="), domain.clip(values[1], "<=")
        if self.sign in (">=", ">"):
            low = domain.clip(values[0], self.sign)  # type: ignore[arg-type]
        else:
            high = domain.clip(values[0], self.sign)  # type: ignore[arg-type]
        return low, high


class NumberIndex(SearchIndex):
    """An index of a domain's values; see :class:`Range` and :class:`Ordered` for the options."""

    unique = False
    across_tenants = False

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The values that it holds."""

    @abstractmethod
    def slots(self, numbers: tuple[int, int] | None) -> int:
        """Return the most intervals that numbers need; ``None`` stands for any."""

    def refuse_type(self, sealed: EncryptedType) -> None:
        """Refuse a column of other values."""
        try:
            kind = _KINDS.get(sealed.python_type)
        except NotImplementedError:
            kind = None
        if kind is None or str(self.domain.parameters["values"]).split()[0] != kind:
            raise ConfigurationError(
                f"{type(self).__name__} of {type(self.domain.min).__name__}: the column holds other values, "
                f"{sealed!r}: give min and max of the column's own type"
            )

    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Answer equality, comparisons and ``between``.

        Raises:
            UnsupportedOperation: a value cannot be compared with those of the domain.
        """
        if question.operator in (*_EQUALITY, *_MEMBERSHIP):
            beside = question.tokens_of(question.operands[0])
            asked = question.parameter("", question.operands[0]) if beside is None else beside
            found = None if asked is None else question.tokens("")
            return None if found is None else found.operate(question.operator, asked, **question.options)
        sign = _SIGNS.get(question.operator)
        operands = question.operands
        if sign is None or not all(is_known(one) or is_parameter(one) for one in operands):
            return None
        comparison = Comparison(sign, bool(question.options.get("symmetric")))
        return Within(question, comparison, operands, self._reserved(comparison, operands))

    def _reserved(self, comparison: Comparison, operands: Sequence[Any]) -> int:
        """Return how many intervals to reserve; the most there can be where a value is not known yet."""
        if not all(map(is_known, operands)):
            return self.slots(None)
        nulls = operands.count(None)
        if nulls and nulls < len(operands):
            raise UnsupportedOperation("BETWEEN a value and NULL: give both, or compare with < or >")
        reason = ""
        try:
            return 1 if nulls else max(1, self.slots(comparison.numbers(self.domain, operands)))
        except InvalidValue as error:
            reason = str(error)
        raise UnsupportedOperation(reason)


class NumberTokens(IntervalTokens):
    """Makes tokens of a domain's values.

    Args:
        domain: the values.
        sealed: the column's type, whose values are as the column keeps them.
        tag: what all tokens of the key begin with.
    """

    def __init__(self, domain: Domain, sealed: EncryptedType, tag: bytes) -> None:
        self.domain, self.tag = domain, tag
        self._codec: Codec = codec_for(sealed.type_, canonical=True)
        self._as_kept = type(domain.min) if type(domain.min) in (int, dt.date, dt.datetime) else None

    @abstractmethod
    def of_numbers(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the tokens of numbers, without the tag."""

    @abstractmethod
    def of_range(self, low: int, high: int) -> list[Interval]:
        """Return the intervals of the tokens of numbers, without the tag."""

    def of_values(self, values: Sequence[Any]) -> list[bytes]:
        """Return what is stored for values."""
        numbers = [self.domain.number(self._kept(value)) for value in values]
        return [self.tag + token for token in self.of_numbers(numbers)]

    def of_question(self, part: Hashable, value: Any) -> bytes:
        """Return the token that equal values have; of a value that no row can hold, one that none has."""
        value = comparable(value, self.domain)
        number = self.domain.clip(value, ">=")
        if number == self.domain.clip(value, ">"):
            return self.tag  # shorter than any
        return self.tag + self.of_numbers((number,))[0]

    def intervals(self, asked: Comparison, values: Sequence[Any]) -> list[Interval]:  # type: ignore[override]
        """Return the intervals in which the answer to a comparison is."""
        low, high = asked.numbers(self.domain, values)
        found = self.of_range(low, high) if low <= high else []
        return [(self.tag + least, self.tag + greatest) for least, greatest in found]

    def _kept(self, value: Any) -> Any:
        """Return a value as the column keeps it: a declared scale rounds, a date may be a datetime."""
        if type(value) is self._as_kept:
            return value
        return self._codec.decode(self._codec.encode(value))


def comparable(value: Any, domain: Domain) -> Any:
    """Return a value of a question as one of the domain, where it means the same."""
    kind = str(domain.parameters["values"])
    if kind == "Decimal" and isinstance(value, float):
        return Decimal(float.__repr__(value))  # the shortest digits that name it, as databases take them
    dates = isinstance(value, dt.date) and not isinstance(value, dt.datetime)
    if kind == "datetime without a time zone" and dates:
        return dt.datetime(value.year, value.month, value.day)
    return value
