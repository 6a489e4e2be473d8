"""Ordered tokens: databases sort them as the numbers are sorted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, InvalidValue
from sqlalchemy_cmk.search.tokens import OrderedTokens

unhurried = settings(deadline=None)
KEY = bytes(range(32))


@unhurried
@given(st.integers(1, 63), st.data(), st.binary(min_size=32, max_size=32))
def test_tokens_are_in_the_order_of_their_numbers(bits: int, data: st.DataObject, key: bytes) -> None:
    tokens = OrderedTokens(key, bits)
    one = data.draw(st.integers(0, 2**bits - 1))
    other = min(2**bits - 1, one + data.draw(st.integers(0, 2**bits - 1) | st.integers(0, 3)))
    first, second = tokens.tokens([one, other])
    assert (first < second) is (one < other) and (first == second) is (one == other)
    assert [tokens.token(one), tokens.token(other)] == [first, second]
    assert len(first) == len(second) == bits


@pytest.mark.parametrize("bits", [1, 2, 3, 10])
def test_every_number_has_its_place(bits: int) -> None:
    tokens = OrderedTokens(KEY, bits).tokens(range(2**bits))
    assert tokens == sorted(tokens) and len(set(tokens)) == 2**bits


def test_two_tokens_differ_first_where_their_numbers_do_and_there_by_one() -> None:
    one, other = OrderedTokens(KEY, 8).tokens([0b1011_0000, 0b1011_0111])
    assert one[:5] == other[:5] and other[5] - one[5] == 1
    assert one[6:] != other[6:]


@pytest.mark.parametrize("number", [-1, 256])
def test_a_number_outside_of_the_domain_is_refused(number: int) -> None:
    with pytest.raises(InvalidValue, match="0 to 255"):
        OrderedTokens(KEY, 8).token(number)


@pytest.mark.parametrize("bits", [0, 64])
def test_the_bits_have_bounds(bits: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 63 bits"):
        OrderedTokens(KEY, bits)
