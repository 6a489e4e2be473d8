"""Range tokens: a permutation that keeps subtrees, and the intervals that a range of numbers becomes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, InvalidValue
from sqlalchemy_cmk.search.tokens import RangeTokens, slots

unhurried = settings(deadline=None)
KEYS = [bytes((number,)) * 32 for number in range(4)]

arities = st.sampled_from([2, 4])
each_arity = pytest.mark.parametrize("arity", [2, 4])


@st.composite
def trees(draw: st.DrawFn) -> RangeTokens:
    return RangeTokens(draw(st.binary(min_size=32, max_size=32)), draw(st.integers(1, 63)), draw(arities))


def spread(draw: st.DrawFn, tokens: RangeTokens) -> tuple[int, int]:
    """Return a range: hypothesis alone would hardly draw a narrow one of a wide domain."""
    last = 2**tokens.bits - 1
    low = draw(st.integers(0, last))
    return low, min(last, low + draw(st.integers(0, last) | st.integers(0, 200)))


@each_arity
@pytest.mark.parametrize("bits", range(1, 11))
def test_tokens_are_a_permutation_of_the_numbers(bits: int, arity: int) -> None:
    numbers = range(2**bits)
    for key in KEYS:
        assert sorted(RangeTokens(key, bits, arity).tokens(numbers)) == list(numbers)


@each_arity
@pytest.mark.parametrize("bits", range(1, 6))
def test_the_intervals_of_every_range_hold_its_tokens_and_no_others(bits: int, arity: int) -> None:
    for key in KEYS:
        tokens = RangeTokens(key, bits, arity)
        stored = tokens.tokens(range(2**bits))
        for low in range(2**bits):
            for high in range(low, 2**bits):
                found = sorted(tokens.intervals(low, high))
                assert len(found) == slots(low, high, bits, arity)
                held = [token for first, last in found for token in range(first, last + 1)]
                assert held == sorted(stored[low : high + 1])
                assert all(first <= last for first, last in found)


@unhurried
@given(st.data(), trees())
def test_the_intervals_of_a_range_in_a_large_domain_hold_its_tokens(
    data: st.DataObject, tokens: RangeTokens
) -> None:
    low, high = spread(data.draw, tokens)
    found = sorted(tokens.intervals(low, high))
    assert len(found) == slots(low, high, tokens.bits, tokens.arity)
    assert all(first <= last for first, last in found)
    assert all(last < first for (_, last), (first, _) in pairwise(found))
    assert sum(last - first + 1 for first, last in found) == high - low + 1
    for number in [*data.draw(st.lists(st.integers(low, high))), low, high]:
        assert sum(first <= tokens.token(number) <= last for first, last in found) == 1


@unhurried
@given(st.data(), trees())
def test_two_tokens_agree_in_as_many_leading_digits_as_the_numbers_do(
    data: st.DataObject, tokens: RangeTokens
) -> None:
    one, other = spread(data.draw, tokens)
    first, second = tokens.tokens([one, other])
    assert [tokens.token(one), tokens.token(other)] == [first, second]
    for shift in range(0, tokens.bits, 1 if tokens.arity == 2 else 2):
        assert (one >> shift == other >> shift) is (first >> shift == second >> shift)


@unhurried
@given(st.data(), st.integers(1, 63), arities)
def test_how_many_intervals_a_range_has_does_not_depend_on_the_key(
    data: st.DataObject, bits: int, arity: int
) -> None:
    under_keys = [RangeTokens(key, bits, arity) for key in KEYS]
    low, high = spread(data.draw, under_keys[0])
    counts = {len(tokens.intervals(low, high)) for tokens in under_keys}
    assert counts == {slots(low, high, bits, arity)}
    levels = bits if arity == 2 else (bits + 1) // 2
    assert slots(low, high, bits, arity) <= max(1, 2 * arity.bit_length() // 2 * levels)


@each_arity
@pytest.mark.parametrize("bits", [1, 17, 28, 63])
def test_the_whole_domain_is_one_interval(bits: int, arity: int) -> None:
    last = 2**bits - 1
    assert slots(0, last, bits, arity) == 1
    assert RangeTokens(KEYS[0], bits, arity).intervals(0, last) == [(0, last)]


def test_each_node_has_a_permutation_of_its_own() -> None:
    """The tokens of siblings do not say how their cousins lie."""
    tokens = RangeTokens(KEYS[0], 12, 4)
    orders = [tuple(token & 3 for token in tokens.tokens(range(at, at + 4))) for at in range(0, 4096, 4)]
    assert len(set(orders)) == 24
    assert min(map(orders.count, set(orders))) > 1024 / 24 / 2
    binary = RangeTokens(KEYS[0], 12, 2)
    flipped = sum(binary.token(at) & 1 for at in range(0, 4096, 2))
    assert 900 < flipped < 1150


@unhurried
@given(st.data(), trees())
def test_an_interval_is_found_by_its_number(data: st.DataObject, tokens: RangeTokens) -> None:
    low, high = spread(data.draw, tokens)
    count = slots(low, high, tokens.bits, tokens.arity)
    asked = [tokens.interval(low, high, slot) for slot in range(count)]
    assert asked == tokens.intervals(low, high)
    assert tokens.interval(low, high, count) == (1, 0)
    other = spread(data.draw, tokens)
    assert tokens.interval(*other, 0) == tokens.intervals(*other)[0]


def test_a_range_without_numbers_has_no_interval() -> None:
    tokens = RangeTokens(KEYS[0], 8, 4)
    for low, high in ((5, 4), (0, -1), (256, 255)):
        assert slots(low, high, 8, 4) == 0
        assert tokens.intervals(low, high) == []
        assert tokens.interval(low, high, 0) == (1, 0)


@pytest.mark.parametrize("number", [-1, 256])
def test_a_number_outside_of_the_domain_is_refused(number: int) -> None:
    tokens = RangeTokens(KEYS[0], 8, 4)
    for work in (
        lambda: tokens.token(number),
        lambda: tokens.tokens([1, number]),
        lambda: tokens.intervals(min(number, 3), max(number, 3)),
        lambda: slots(min(number, 3), max(number, 3), 8, 4),
    ):
        with pytest.raises(InvalidValue, match="0 to 255"):
            work()


@pytest.mark.parametrize(("bits", "arity"), [(0, 2), (64, 2), (8, 3), (8, 8), (8, 1)])
def test_options_have_bounds(bits: int, arity: int) -> None:
    with pytest.raises(ConfigurationError, match="a range index has"):
        RangeTokens(KEYS[0], bits, arity)
    with pytest.raises(ConfigurationError, match="a range index has"):
        slots(0, 0, bits, arity)
