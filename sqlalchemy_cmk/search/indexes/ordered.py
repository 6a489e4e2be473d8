"""Values in their order, which gives away nearly all of them. See :class:`Ordered`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql import operators

from sqlalchemy_cmk.columns.indexes import Question
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.domains import Domain
from sqlalchemy_cmk.search.indexes.numbers import NumberIndex, NumberTokens
from sqlalchemy_cmk.search.intervals import Interval
from sqlalchemy_cmk.search.normalizers import identity
from sqlalchemy_cmk.search.tokens.keys import KEY_BYTES, index_info
from sqlalchemy_cmk.search.tokens.ordered import OrderedTokens
from sqlalchemy_cmk.search.tokens.tags import TAG_BYTES, tag_of

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

_DIRECTIONS = (operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op)


@dataclass(frozen=True)
class Ordered(NumberIndex):
    """Sorts: ``order_by(column.asc())``, ``desc()``; and compares, as :class:`Range` does, with one interval.

    **Anyone who can read the database sees the order of all of a tenant's values**, and so nearly the values
    themselves. Use it only if rows have to be sorted in SQL. Rows are in order within one tenant.

    Args:
        min: the smallest value: an ``int``, ``date``, ``datetime`` or ``Decimal``, as the column's values.
        max: the largest value. A value outside is refused when it is written; queries may go beyond.
        step: what values are multiples of, counted from ``min``; see
            :class:`~sqlalchemy_cmk.search.domains.Domain`. To be given for ``Decimal``.
        name: what the hidden column is called behind the column's name; ``ordered`` if not given.

    Raises:
        ConfigurationError: min, max and step do not fit each other.
    """

    kind = "ordered"

    min: Any
    max: Any
    step: Any = None
    name: str | None = None
    _domain: Domain = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_domain", Domain(self.min, self.max, self.step))
        OrderedTokens(bytes(KEY_BYTES), self.domain.bits)

    @property
    def domain(self) -> Domain:
        """The values that it holds."""
        return self._domain

    def slots(self, numbers: tuple[int, int] | None) -> int:
        """Return one: neighbours have neighbouring tokens."""
        return 1

    def max_bytes(self) -> int:
        """Return the length of a token in bytes."""
        return TAG_BYTES + self.domain.bits

    def info(self, context: Context) -> bytes:
        """Return what the index's key is for."""
        return index_info(self.kind, context, identity.identifier, self.domain.parameters)

    def tokens(self, key: Secret, sealed: EncryptedType) -> _Tokens:
        """Return what makes tokens under a key."""
        return _Tokens(key, self, sealed)

    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Answer directions of an ORDER BY, equality, comparisons and ``between``."""
        if question.operator in _DIRECTIONS:
            return question.tokens("").operate(question.operator)
        return super().answer(question)


class _Tokens(NumberTokens):
    def __init__(self, key: Secret, index: Ordered, sealed: EncryptedType) -> None:
        super().__init__(index.domain, sealed, tag_of(key))
        self._made = OrderedTokens(key, index.domain.bits)

    def of_numbers(self, numbers: Sequence[int]) -> list[bytes]:
        return self._made.tokens(numbers)

    def of_range(self, low: int, high: int) -> list[Interval]:
        least, greatest = self._made.tokens((low, high))
        return [(least, greatest)]
