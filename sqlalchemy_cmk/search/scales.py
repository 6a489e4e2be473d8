"""Counts values of one type in ticks, the least that two of them differ by: :class:`Scale`.

See :class:`~sqlalchemy_cmk.search.domains.Domain`, which counts in steps of so many ticks.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_FLOOR, Context, Decimal
from numbers import Integral
from typing import Any

from sqlalchemy_cmk.errors import ConfigurationError

# Of min, max and step as decimal numbers, before the point and after it.
_MOST_DIGITS = 100

_MICROSECOND = dt.timedelta(microseconds=1)
_DAY = dt.timedelta(days=1)
_MICROSECONDS_A_DAY = _DAY // _MICROSECOND
# Loses no digit, and does not depend on the thread's own context.
_EXACT = Context(MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


class Scale(ABC):
    """Counts values of one type in *ticks*, the least that two of them differ by.

    Attributes:
        name: of the type, as it is part of an index's key.
        default_step: of a domain.
        places: decimals of a tick.
    """

    name: str
    default_step: Any
    places: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scale) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Return whether a value is of the type, and is a place on the scale."""

    @abstractmethod
    def ticks(self, value: Any) -> tuple[int, bool]:
        """Return the last tick that is not above a value, and whether it is the value."""

    @abstractmethod
    def step(self, step: Any) -> int:
        """Return how many ticks a step has; raises :class:`ConfigurationError`."""


class _Integers(Scale):
    name = "int"
    default_step = 1

    def holds(self, value: Any) -> bool:
        return isinstance(value, Integral) and not isinstance(value, bool)

    def ticks(self, value: Any) -> tuple[int, bool]:
        return int(value), True

    def step(self, step: Any) -> int:
        step = self.default_step if step is None else step
        if not self.holds(step) or step < 1:
            raise ConfigurationError("a range of integers: the step is an integer from 1 on")
        return int(step)


class _Dates(Scale):
    name = "date"
    default_step = _DAY

    def holds(self, value: Any) -> bool:
        return isinstance(value, dt.date) and not isinstance(value, dt.datetime)

    def ticks(self, value: Any) -> tuple[int, bool]:
        return dt.date.toordinal(value), True

    def step(self, step: Any) -> int:
        return _ticks_of(self.default_step if step is None else step, _DAY, "dates", "whole days")


class _Moments(Scale):
    default_step = _MICROSECOND

    def __init__(self, *, aware: bool) -> None:
        self._aware = aware
        self.name = "datetime with a time zone" if aware else "datetime without a time zone"

    def holds(self, value: Any) -> bool:
        # pandas' NaT is a datetime that is not equal to itself.
        right = isinstance(value, dt.datetime) and value == value
        return right and (value.utcoffset() is not None) is self._aware

    def ticks(self, value: Any) -> tuple[int, bool]:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        ticks = dt.date.toordinal(value) * _MICROSECONDS_A_DAY + seconds * 1_000_000 + value.microsecond
        return ticks - (value.utcoffset() // _MICROSECOND if self._aware else 0), True

    def step(self, step: Any) -> int:
        return _ticks_of(
            self.default_step if step is None else step, _MICROSECOND, "datetimes", "microseconds"
        )


class _Decimals(Scale):
    name = "Decimal"
    default_step = None

    def __init__(self, *values: Any) -> None:
        # A tick is the last decimal that min, max or step have.
        exponents = [int(_decimal(value).normalize(_EXACT).as_tuple().exponent) for value in values]
        self.places = max(0, -min(exponents))
        self._tick = Decimal((0, (1,), -self.places))

    def holds(self, value: Any) -> bool:
        if isinstance(value, Decimal):
            return value.is_finite()
        return isinstance(value, Integral) and not isinstance(value, bool)

    def ticks(self, value: Any) -> tuple[int, bool]:
        number = _decimal(value)
        if number and number.adjusted() > _MOST_DIGITS:
            # Outside of any domain: not written out in digits, which may fill the memory.
            return int(Decimal(10 ** (_MOST_DIGITS + 1)).copy_sign(number)) * 10**self.places, False
        floor = number.quantize(self._tick, ROUND_FLOOR, _EXACT)
        return int(floor.scaleb(self.places, _EXACT)), floor == number

    def step(self, step: Any) -> int:
        return self.ticks(step)[0]


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(int(value))


def _ticks_of(step: Any, tick: dt.timedelta, values: str, unit: str) -> int:
    if not isinstance(step, dt.timedelta) or step < tick or step % tick:
        raise ConfigurationError(f"a range of {values}: the step is a timedelta of {unit}")
    return step // tick


def scale_of(min: Any, max: Any, step: Any) -> Scale:
    """Return the scale of the values between two.

    Raises:
        ConfigurationError: no scale has these values.
    """
    if any(isinstance(one, Decimal) for one in (min, max, step)):
        return _decimals(min, max, step)
    for scale in (_Integers(), _Dates(), _Moments(aware=False), _Moments(aware=True)):
        if scale.holds(min) and scale.holds(max):
            return scale
    raise ConfigurationError(
        "a range: min and max are two int, date, datetime or Decimal; datetimes both have a time zone or "
        "both have none. A float has no exact steps: take Decimal"
    )


def _decimals(min: Any, max: Any, step: Any) -> Scale:
    if not all(map(_is_ordinary, (min, max, step))) or step <= 0:
        raise ConfigurationError(
            "a range of decimal numbers: min, max and step are Decimal or int of at most "
            f'{_MOST_DIGITS} digits, and the step is given and above 0, such as Decimal("0.01")'
        )
    return _Decimals(min, max, step)


def _is_ordinary(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Decimal | Integral):
        return False
    number = _decimal(value)
    return number.is_finite() and max(-int(number.as_tuple().exponent), number.adjusted()) <= _MOST_DIGITS
