"""Exact tokens: equal for equal values, cut to the bits that were asked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.search.tokens import ExactTokens

unhurried = settings(deadline=None)
KEY = bytes(range(32))


@unhurried
@given(st.binary(), st.integers(1, 256))
def test_a_token_is_the_beginning_of_the_whole_one_with_its_spare_bits_zero(
    plaintext: bytes, bits: int
) -> None:
    whole = int.from_bytes(ExactTokens(KEY, 256).token(plaintext))
    cut = ExactTokens(KEY, bits).token(plaintext)
    assert len(cut) == (bits + 7) // 8
    assert int.from_bytes(cut) == whole >> 256 - bits << -bits % 8


@unhurried
@given(st.lists(st.binary(max_size=3)))
def test_two_values_have_one_token_only_if_they_are_equal(plaintexts: list[bytes]) -> None:
    tokens = ExactTokens(KEY).tokens(plaintexts)
    assert tokens == [ExactTokens(KEY).token(one) for one in plaintexts]
    assert len(set(tokens)) == len(set(plaintexts))


def test_another_key_gives_another_token() -> None:
    assert ExactTokens(KEY).token(b"x") != ExactTokens(bytes(32)).token(b"x")


def test_few_bits_put_values_into_few_buckets() -> None:
    assert len({ExactTokens(KEY, 3).token(bytes((one,))) for one in range(256)}) == 8


@pytest.mark.parametrize("bits", [-1, 0, 257])
def test_a_token_has_1_to_256_bits(bits: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 256 bits"):
        ExactTokens(KEY, bits)
