"""The values of a range index and the numbers that stand for them: :class:`Domain`.

A number is how many steps a value is above the smallest. Every value that is written is a whole number of
steps, so the numbers compare as the values do, and a question is answered as it would be over plaintext: also
one whose own value is between two steps, or outside the domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue
from sqlalchemy_cmk.search.scales import Scale, scale_of

Side = Literal[">=", ">", "<=", "<"]

MAX_BITS = 63


@dataclass(frozen=True)
class Domain:
    """The values that a range or ordered index holds, and their numbers.

    =====================  ====================  ===========================================================
    ``min`` and ``max``    ``step``              values
    =====================  ====================  ===========================================================
    ``int``                ``int``, 1            integers
    ``date``               whole days, 1 day     dates, not datetimes
    ``datetime``           1 microsecond         without a time zone where ``min`` has none, otherwise with
                                                 one, and compared in UTC
    ``Decimal``            to be given           decimal numbers and integers
    =====================  ====================  ===========================================================

    A larger step makes tokens shorter and questions of fewer intervals. A value between two steps is refused
    when it is written, and not rounded: rows that differ by less than a step could not be told apart. In
    questions it is allowed.

    Args:
        min: the smallest value.
        max: the largest value; it may be written.
        step: what values are multiples of, counted from ``min``: a ``timedelta`` for dates and datetimes.

    Raises:
        ConfigurationError: min, max and step do not fit each other, are of another type, such as ``float``,
            or make more than 2^63 numbers.
    """

    min: Any
    max: Any
    step: Any = None
    _scale: Scale = field(init=False, repr=False)
    _first: int = field(init=False, repr=False, compare=False)
    _step: int = field(init=False, repr=False, compare=False)
    _top: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scale = scale_of(self.min, self.max, self.step)
        step = scale.step(self.step)
        if self.step is None:
            object.__setattr__(self, "step", scale.default_step)
        first, last = scale.ticks(self.min)[0], scale.ticks(self.max)[0]
        if first >= last or step > last - first:
            raise ConfigurationError(
                "a range: min is less than max, and the step not more than what is between"
            )
        for name, value in (
            ("scale", scale),
            ("first", first),
            ("step", step),
            ("top", (last - first) // step),
        ):
            object.__setattr__(self, f"_{name}", value)
        if self.bits > MAX_BITS:
            raise ConfigurationError(
                f"a range: {self.bits} bits are more than the {MAX_BITS} allowed: take a larger step"
            )

    @property
    def bits(self) -> int:
        """How many bits the largest number has: numbers are from 0 to ``2 ** bits - 1``."""
        return self._top.bit_length()

    @property
    def parameters(self) -> dict[str, int | str]:
        """What tokens depend on, for :func:`~sqlalchemy_cmk.search.tokens.index_info`.

        The largest value is not among it: it may be raised for as long as ``bits`` is the same.
        """
        numbers = {"min": self._first, "step": self._step, "bits": self.bits}
        return {"values": self._scale.name, "places": self._scale.places, **numbers}

    def number(self, value: Any) -> int:
        """Return the number of a value that is written.

        The value is what the column keeps: a declared scale has rounded it before.

        Raises:
            InvalidValue: the value is of another type, outside the domain or between two steps.
        """
        place, whole = self._place(value)
        if not 0 <= place <= self._top:
            raise InvalidValue(f"the value is not from {self.min} to {self.max}, as the index holds them")
        if not whole:
            raise InvalidValue(
                f"the value is between two of the index's steps of {self.step}: round it before, or declare "
                "the index with a smaller step"
            )
        return place

    def clip(self, value: Any, side: Side) -> int:
        """Return the number at which the answer to a question begins or ends.

        Args:
            value: what values are compared with; it may be outside the domain or between two steps.
            side: how: the answer to ``>=`` and ``>`` is all from the returned number on, that to ``<=`` and
                ``<`` all up to it, inclusive. Equal to a value are all from its ``>=`` to its ``<=``.

        Returns:
            A number; ``2 ** bits`` where nothing is as large, -1 where nothing is as small. The first number
            or the last, ``2 ** bits - 1``, where all are: so the least intervals are needed.

        Raises:
            InvalidValue: the value is of another type.
        """
        place, whole = self._place(value)
        end = 1 << self.bits
        if side in (">=", ">"):
            first = place if whole and side == ">=" else place + 1
            return end if first > self._top else max(first, 0)
        last = place - 1 if whole and side == "<" else place
        return end - 1 if last >= self._top else max(last, -1)

    def _place(self, value: Any) -> tuple[int, bool]:
        """Return how many whole steps a value is above the smallest, and whether it is no more."""
        scale = self._scale
        if not scale.holds(value):
            raise InvalidValue(f"expected {scale.name}, not {type(value).__name__}")
        ticks, exact = scale.ticks(value)
        place, rest = divmod(ticks - self._first, self._step)
        return place, exact and not rest
