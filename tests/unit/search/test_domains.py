"""Domains: a question over numbers finds the rows that it would find over the values themselves."""

import datetime as dt
import operator
import pickle
from copy import deepcopy
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, InvalidValue
from sqlalchemy_cmk.search.domains import Domain

unhurried = settings(deadline=None)

COMPARED = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
ZONE = dt.timezone(dt.timedelta(hours=5, minutes=30))
DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)

naive = st.datetimes(dt.datetime(1999, 12, 30), dt.datetime(2000, 1, 5))
zones = st.sampled_from([dt.UTC, ZONE, ZoneInfo("Europe/Zurich"), dt.timezone(dt.timedelta(microseconds=7))])
decimals = st.decimals(-12, 12, places=3) | st.decimals(-12, 12, places=1) | st.integers(-12, 12)

# A domain, and values in it, around it and between its steps.
DOMAINS: dict[str, tuple[Domain, st.SearchStrategy[Any]]] = {
    "integers": (Domain(-5, 10), st.integers(-8, 13)),
    "integers in steps": (Domain(-5, 10, 4), st.integers(-9, 14)),
    "large integers": (Domain(-(2**62), 2**62 - 1), st.integers(-(2**65), 2**65)),
    "dates": (
        Domain(dt.date(2000, 1, 1), dt.date(2000, 3, 2)),
        st.dates(dt.date(1999, 12, 20), dt.date(2000, 3, 9)),
    ),
    "weeks": (
        Domain(dt.date(2000, 1, 3), dt.date(2000, 3, 2), 7 * DAY),
        st.dates(dt.date(1999, 12, 20), dt.date(2000, 3, 9)),
    ),
    "moments": (Domain(dt.datetime(2000, 1, 1), dt.datetime(2000, 1, 2)), naive),
    "hours": (Domain(dt.datetime(2000, 1, 1), dt.datetime(2000, 1, 2), 3600 * SECOND), naive),
    "moments in zones": (
        Domain(dt.datetime(2000, 1, 1, tzinfo=ZONE), dt.datetime(2000, 1, 2, tzinfo=dt.UTC)),
        st.builds(lambda moment, zone: moment.replace(tzinfo=zone), naive, zones),
    ),
    "cents": (Domain(Decimal("-9.99"), Decimal(10), Decimal("0.01")), decimals),
    "steps of a quarter": (Domain(Decimal("-9.9"), 10, Decimal("0.25")), decimals),
    "hundreds": (Domain(0, Decimal("1E+4"), Decimal("100")), st.integers(-200, 10_200).map(Decimal)),
}
each_domain = pytest.mark.parametrize("name", DOMAINS)


def instant(value: Any) -> Any:
    """Return what Python compares: two moments of one zone are compared by their clocks."""
    aware = isinstance(value, dt.datetime) and value.tzinfo is not None
    return value.astimezone(dt.UTC) if aware else value


def holds(domain: Domain, value: Any) -> bool:
    try:
        domain.number(value)
    except InvalidValue:
        return False
    return True


@each_domain
@unhurried
@given(data=st.data())
def test_a_question_finds_the_rows_that_it_would_find_over_the_values(name: str, data: st.DataObject) -> None:
    domain, values = DOMAINS[name]
    on_steps = st.integers(0, 2**domain.bits).map(lambda place: value_at(domain, place))
    stored = data.draw(values | on_steps)
    asked = data.draw(values | on_steps | st.just(stored) | st.sampled_from([domain.min, domain.max]))
    if not holds(domain, stored):
        return
    number = domain.number(stored)
    assert 0 <= number < 2**domain.bits
    for side, compared in COMPARED.items():
        end = domain.clip(asked, side)  # type: ignore[arg-type]
        assert -1 <= end <= 2**domain.bits
        found = number >= end if side.startswith(">") else number <= end
        assert found is compared(instant(stored), instant(asked))
    equal = domain.clip(asked, ">=") <= number <= domain.clip(asked, "<=")
    assert equal is (instant(stored) == instant(asked))


def value_at(domain: Domain, place: int) -> Any:
    """Return the value so many steps above the smallest, or the largest if there is none."""
    try:
        value = domain.min + place * domain.step
    except OverflowError:
        return domain.max
    return value if instant(value) <= instant(domain.max) else domain.max


@each_domain
@unhurried
@given(data=st.data())
def test_values_on_the_steps_are_held_and_no_others(name: str, data: st.DataObject) -> None:
    domain, values = DOMAINS[name]
    value = data.draw(values)
    inside = instant(domain.min) <= instant(value) <= instant(domain.max)
    rest = (instant(value) - instant(domain.min)) % domain.step
    assert holds(domain, value) is (inside and not rest)


@each_domain
def test_the_whole_domain_is_asked_for_from_the_first_number_to_the_last(name: str) -> None:
    domain, _ = DOMAINS[name]
    last = 2**domain.bits - 1
    for side in (">=", "<="):
        assert domain.clip(domain.min if side == ">=" else domain.max, side) == (0 if side == ">=" else last)
    assert domain.number(domain.min) == 0


def test_a_domain_has_as_many_bits_as_its_numbers_need() -> None:
    century = Domain(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))
    assert {
        "a byte": Domain(0, 255).bits,
        "and one": Domain(0, 256).bits,
        "two numbers": Domain(3, 4).bits,
        "dates": Domain(dt.date(1900, 1, 1), dt.date(2100, 1, 1)).bits,
        "microseconds": century.bits,
        "seconds": Domain(century.min, century.max, SECOND).bits,
        "cents": Domain(0, Decimal(1_000_000), Decimal("0.01")).bits,
        "all": Domain(-(2**62), 2**62 - 1).bits,
    } == {
        "a byte": 8,
        "and one": 9,
        "two numbers": 1,
        "dates": 17,
        "microseconds": 53,
        "seconds": 33,
        "cents": 27,
        "all": 63,
    }


def test_a_moment_is_counted_by_its_time_in_utc() -> None:
    domain = Domain(dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2001, 1, 1, tzinfo=dt.UTC), SECOND)
    noon = dt.datetime(2000, 6, 1, 12, tzinfo=dt.UTC)
    assert domain.number(noon) == domain.number(noon.astimezone(ZONE))
    zurich = ZoneInfo("Europe/Zurich")
    twice = [dt.datetime(2000, 10, 29, 2, 30, fold=fold, tzinfo=zurich) for fold in (0, 1)]
    assert domain.number(twice[1]) - domain.number(twice[0]) == 3600


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Domain(0, 9), 4.0),
        (Domain(0, 9), True),
        (Domain(0, 9), Decimal(4)),
        (Domain(0, 9), "4"),
        (Domain(0, 9), None),
        (Domain(dt.date(2000, 1, 1), dt.date(2001, 1, 1)), dt.datetime(2000, 5, 5)),
        (Domain(dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1)), dt.date(2000, 5, 5)),
        (Domain(dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1)), dt.datetime(2000, 5, 5, tzinfo=dt.UTC)),
        (
            Domain(dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2001, 1, 1, tzinfo=dt.UTC)),
            dt.datetime(2000, 5, 5),
        ),
        (Domain(0, 9, Decimal(1)), 4.0),
        (Domain(0, 9, Decimal(1)), False),
        (Domain(0, 9, Decimal(1)), Decimal("NaN")),
        (Domain(0, 9, Decimal(1)), Decimal("sNaN")),
        (Domain(0, 9, Decimal(1)), Decimal("Infinity")),
    ],
)
def test_a_value_of_another_type_is_refused_in_rows_and_in_questions(domain: Domain, value: Any) -> None:
    with pytest.raises(InvalidValue, match="expected"):
        domain.number(value)
    with pytest.raises(InvalidValue, match="expected"):
        domain.clip(value, ">=")


def test_a_moment_that_is_not_equal_to_itself_is_none() -> None:
    class NotATime(dt.datetime):
        def __eq__(self, other: object) -> bool:
            return False

        __hash__ = dt.datetime.__hash__

    with pytest.raises(InvalidValue):
        Domain(dt.datetime(1, 1, 1), dt.datetime(2001, 1, 1)).number(NotATime(1, 1, 1))


def test_what_is_refused_is_not_shown() -> None:
    domain = Domain(Decimal(0), Decimal(10), Decimal("0.01"))
    for value, said in ((Decimal("1.2345"), "smaller step"), (Decimal("777"), "from 0 to 10")):
        with pytest.raises(InvalidValue, match=said) as caught:
            domain.number(value)
        assert str(value) not in str(caught.value)


@pytest.mark.parametrize(
    "number", ["1E+999999999999999999", "-1E+999999999999999999", "1E-999999999999999999"]
)
def test_a_number_with_a_huge_exponent_is_compared_and_not_written_out(number: str) -> None:
    domain = Domain(Decimal(-10), Decimal(10), Decimal("0.01"))
    value = Decimal(number)
    assert [domain.clip(value, side) for side in (">=", "<=")] == {  # type: ignore[arg-type]
        "1E+999999999999999999": [2048, 2047],
        "-1E+999999999999999999": [0, -1],
        "1E-999999999999999999": [1001, 1000],
    }[number]
    with pytest.raises(InvalidValue):
        domain.number(value)


@pytest.mark.parametrize(
    "options",
    [
        (0.0, 1.0),
        (0, 1.0, Decimal("0.1")),
        (0, Decimal(1)),
        (Decimal(0), Decimal(1), 0.1),
        (Decimal(0), Decimal(1), Decimal(0)),
        (Decimal(0), Decimal("Infinity"), Decimal(1)),
        (Decimal(0), Decimal("1E+101"), Decimal(1)),
        (Decimal(0), Decimal(1), Decimal("1E-101")),
        (False, True),
        (1, 1),
        (2, 1),
        (0, 9, 0),
        (0, 9, 10),
        (0, 9, True),
        (0, 2**63),
        (0, dt.date(2000, 1, 1)),
        (dt.date(2000, 1, 1), dt.datetime(2001, 1, 1)),
        (dt.date(2000, 1, 1), dt.date(2001, 1, 1), SECOND),
        (dt.date(2000, 1, 1), dt.date(2001, 1, 1), 7),
        (dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1), -SECOND),
        (dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1), 1),
        (dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1, tzinfo=dt.UTC)),
        ("a", "b"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigurationError, match="a range"):
        Domain(*options)


@each_domain
def test_a_domain_is_a_value(name: str) -> None:
    domain, _ = DOMAINS[name]
    for copy in (
        Domain(domain.min, domain.max, domain.step),
        deepcopy(domain),
        pickle.loads(pickle.dumps(domain)),
    ):
        assert copy == domain and hash(copy) == hash(domain) and copy.parameters == domain.parameters
    assert domain != Domain(0, 99)


def test_the_parameters_are_those_that_tokens_depend_on() -> None:
    domain = Domain(Decimal("0.50"), Decimal(100), Decimal("0.10"))
    assert domain.parameters == {"values": "Decimal", "places": 1, "min": 5, "step": 1, "bits": 10}
    assert Domain(Decimal("0.5"), 99, Decimal("0.1")).parameters == domain.parameters
    assert Domain(0, 9).parameters != Domain(Decimal(0), 9, 1).parameters
    one = Domain(dt.datetime(2000, 1, 1, 5, 30, tzinfo=ZONE), dt.datetime(2001, 1, 1, tzinfo=dt.UTC))
    other = Domain(dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2001, 1, 1, tzinfo=dt.UTC))
    assert one.parameters == other.parameters


@unhurried
@given(st.integers(0, 2**31))
@example(0)
def test_numpy_integers_count_as_integers(number: int) -> None:
    numpy = pytest.importorskip("numpy")
    assert Domain(0, 2**31).number(numpy.int64(number)) == number
    assert Domain(0, 2**31, Decimal(1)).number(numpy.int64(number)) == number
