"""Which values are between two others: prefix-preserving tokens of numbers. See :class:`Range`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.domains import Domain
from sqlalchemy_cmk.search.indexes.numbers import NumberIndex, NumberTokens
from sqlalchemy_cmk.search.intervals import Interval
from sqlalchemy_cmk.search.normalizers import identity
from sqlalchemy_cmk.search.tokens.keys import KEY_BYTES, index_info
from sqlalchemy_cmk.search.tokens.ranges import DEFAULT_ARITY, RangeTokens, slots
from sqlalchemy_cmk.search.tokens.tags import TAG_BYTES, tag_of

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType


@dataclass(frozen=True)
class Range(NumberIndex):
    """Finds values by comparison: ``<``, ``<=``, ``>``, ``>=``, ``between``, ``==``, ``in_``.

    Args:
        min: the smallest value: an ``int``, ``date``, ``datetime`` or ``Decimal``, as the column's values.
        max: the largest value. A value outside is refused when it is written; queries may go beyond.
        step: what values are multiples of, counted from ``min``; see
            :class:`~sqlalchemy_cmk.search.domains.Domain`. To be given for ``Decimal``.
        arity: 4; or 2, which needs fewer intervals in a query and reveals more.
        name: what the hidden column is called behind the column's name; ``range`` if not given.

    Raises:
        ConfigurationError: min, max and step do not fit each other, or ``arity`` is neither 2 nor 4.
    """

    kind = "range"

    min: Any
    max: Any
    step: Any = None
    arity: int = DEFAULT_ARITY
    name: str | None = None
    _domain: Domain = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_domain", Domain(self.min, self.max, self.step))
        RangeTokens(bytes(KEY_BYTES), self.domain.bits, self.arity)  # which refuses another arity

    @property
    def domain(self) -> Domain:
        """The values that it holds."""
        return self._domain

    def slots(self, numbers: tuple[int, int] | None) -> int:
        """Return the most intervals that numbers need; ``None`` stands for any."""
        if numbers is None:
            # On each side, a level of 2 children has one interval, and one of 4 has two, and half the levels.
            return 2 * self.domain.bits
        low, high = numbers
        return slots(low, high, self.domain.bits, self.arity) if low <= high else 0

    def max_bytes(self) -> int:
        """Return the length of a token in bytes."""
        return TAG_BYTES + _size(self.domain)

    def info(self, context: Context) -> bytes:
        """Return what the index's key is for."""
        return index_info(
            self.kind, context, identity.identifier, self.domain.parameters | {"arity": self.arity}
        )

    def tokens(self, key: Secret, sealed: EncryptedType) -> _Tokens:
        """Return what makes tokens under a key."""
        return _Tokens(key, self, sealed)


def _size(domain: Domain) -> int:
    return (domain.bits + 7) // 8


class _Tokens(NumberTokens):
    def __init__(self, key: Secret, index: Range, sealed: EncryptedType) -> None:
        super().__init__(index.domain, sealed, tag_of(key))
        self._made, self._size = RangeTokens(key, index.domain.bits, index.arity), _size(index.domain)

    def of_numbers(self, numbers: Sequence[int]) -> list[bytes]:
        return [token.to_bytes(self._size, "big") for token in self._made.tokens(numbers)]

    def of_range(self, low: int, high: int) -> list[Interval]:
        found = self._made.intervals(low, high)
        return [
            (first.to_bytes(self._size, "big"), last.to_bytes(self._size, "big")) for first, last in found
        ]
