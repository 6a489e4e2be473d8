"""The key of an index: another one for everything that changes a token."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.format import Context, Suite
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens import (
    ExactTokens,
    NGramTokens,
    OrderedTokens,
    PrefixTokens,
    RangeTokens,
    index_info,
    index_key,
)
from tests.support.crash_reports import crash_report

unhurried = settings(deadline=None)

DEK = bytes(range(32))
EMAIL = Context.of_column(None, "patients", "email")

names = st.text("ab\x00\x01i", max_size=3)
contexts = st.builds(Context.of_column, names, names, names) | st.builds(Context.of_name, names.filter(bool))
values = st.integers(-(2**70), 2**70) | st.integers(0, 9) | st.text("1-i\x00", max_size=3)
infos = st.tuples(names, contexts, names, st.dictionaries(names, values, max_size=3))


@unhurried
@given(infos, infos)
@example(("exact", EMAIL, "fold/1", {"bits": 1}), ("exact", EMAIL, "fold/1", {"bits": "1"}))
@example(("exact", EMAIL, "fold/1", {}), ("exact", EMAIL, "fold/11", {}))
@example(("a", EMAIL, "", {"a": "b"}), ("a", EMAIL, "", {"ab": ""}))
def test_two_infos_are_equal_only_if_all_their_parts_are(one: Any, other: Any) -> None:
    assert (index_info(*one) == index_info(*other)) is (one == other)


@unhurried
@given(infos)
def test_the_order_of_parameters_does_not_matter(one: Any) -> None:
    kind, context, normalizer, parameters = one
    turned = dict(reversed(parameters.items()))
    assert index_info(kind, context, normalizer, turned) == index_info(*one)


def test_no_info_is_that_of_a_columns_key() -> None:
    """Both are derived by HKDF, though not from the same DEK."""
    info = index_info("exact", EMAIL, "fold/1", {"bits": 128})
    assert info.startswith(b"\x81\x00\x05exact" + EMAIL.data)
    assert all(suite < 0x80 for suite in Suite)


def test_a_parameter_is_an_integer_or_a_text() -> None:
    for value in (True, 1.5, None):
        with pytest.raises(TypeError, match="bits is an integer or a text"):
            index_info("exact", EMAIL, "", {"bits": value})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="255"):
        index_info("exact", EMAIL, "", {str(number): 1 for number in range(256)})
    with pytest.raises(ValueError, match="65535"):
        index_info("exact", EMAIL, "x" * 65_536, {})


def test_a_key_is_the_same_from_a_secret_and_from_bytes_and_differs_by_info_and_dek() -> None:
    one = index_key(DEK, b"a")
    assert len(one) == 32 and one == index_key(Secret(DEK), b"a")
    assert one != index_key(DEK, b"b") and one != index_key(bytes(32), b"a")
    assert ExactTokens(one).token(b"x") == ExactTokens(one.reveal()).token(b"x")


@pytest.mark.parametrize(
    "make",
    [
        ExactTokens,
        PrefixTokens,
        NGramTokens,
        lambda key: RangeTokens(key, 8),
        lambda key: OrderedTokens(key, 8),
        lambda key: index_key(key, b""),
    ],
)
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(make: Callable[[bytes], object], size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make(bytes(size))


@pytest.mark.parametrize(
    "make",
    [
        lambda key: ExactTokens(key, 0),
        lambda key: PrefixTokens(key, 0),
        lambda key: NGramTokens(key, 0),
        lambda key: RangeTokens(key, 0),
        lambda key: OrderedTokens(key, 0),
    ],
)
def test_a_refused_option_shows_no_key(make: Callable[[bytes], object]) -> None:
    key = b"0123456789abcdef0123456789abcdef"
    with pytest.raises(ConfigurationError) as caught:
        make(key)
    assert key.decode() not in crash_report(caught.value)
    assert traceback.extract_tb(caught.value.__traceback__)


def test_what_makes_tokens_shows_neither_its_key_nor_what_it_has_seen() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    grams, ranges = NGramTokens(key), RangeTokens(key, 31)
    grams.tokens("smith")
    ranges.interval(123_456_789, 123_456_790, 0)
    for one in (grams, ranges, PrefixTokens(key), ExactTokens(key), OrderedTokens(key, 8)):
        assert not hasattr(one, "__dict__")
        assert not any(word in repr(one) for word in ("0123", "smi", "123_456_789", "123456789"))
