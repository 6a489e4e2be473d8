"""Prefix tokens: one interval of paths holds the texts that begin with a needle, and no others."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, InvalidValue
from sqlalchemy_cmk.search.tokens import PrefixTokens
from sqlalchemy_cmk.search.tokens import prefix as prefix_module

unhurried = settings(deadline=None)
KEY = bytes(range(32))

texts = st.text("aäé\U0001f600", max_size=8) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def found(tokens: PrefixTokens, text: str, needle: str) -> bool:
    low, high = tokens.bounds(needle)
    return low <= tokens.path(text) < high


@unhurried
@given(texts, texts, st.integers(1, 4), st.integers(0, 6))
@example("ab", "abc", 2, 0)
def test_a_question_finds_the_texts_that_begin_with_its_needle(
    text: str, needle: str, shortest: int, more: int
) -> None:
    tokens = PrefixTokens(KEY, shortest, shortest + more, 8)
    if len(needle) >= shortest:
        assert found(tokens, text, needle) is text.startswith(needle[: tokens.max])
        assert found(tokens, needle + text, needle)


@unhurried
@given(texts, texts, st.integers(1, 4), st.integers(0, 6))
def test_two_paths_agree_for_as_long_as_their_texts_do(
    one: str, other: str, shortest: int, more: int
) -> None:
    tokens = PrefixTokens(KEY, shortest, shortest + more, 8)
    first, second = (tokens.path(text) for text in (one, other))
    shared = next(
        at for at in range(21, -1, -1) if at <= min(len(one), len(other)) and one[:at] == other[:at]
    )
    agreeing = max(0, min(shared, tokens.max) - shortest + 1) * 8
    assert first[:agreeing] == second[:agreeing]
    assert (
        first[agreeing : agreeing + 8] != second[agreeing : agreeing + 8]
        or len(first) == len(second) == agreeing
    )


@unhurried
@given(texts)
def test_a_path_has_so_many_bytes_for_each_prefix(text: str) -> None:
    for shortest, longest, width in ((2, 12, 4), (1, 3, 1), (3, 3, 32)):
        tokens = PrefixTokens(KEY, shortest, longest, width)
        prefixes = max(0, min(len(text), longest) - shortest + 1)
        assert len(tokens.path(text)) == prefixes * width <= tokens.max_bytes
        assert tokens.paths([text, ""]) == [tokens.path(text), b""]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda prefix: b"\xff\xff", id="nothing comes after"),
        pytest.param(lambda prefix: bytes((prefix[-1], 0xFF)), id="a shorter path comes right after"),
        pytest.param(lambda prefix: bytes((0xFF, prefix[-1])), id="the last byte carries"),
    ],
)
def test_the_bounds_hold_where_bytes_overflow(
    place: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a MAC that gives the worst bytes for each prefix."""
    monkeypatch.setattr(prefix_module, "Mac", lambda key: lambda message: place(message[2:]))
    tokens = PrefixTokens(KEY, 1, 3, 2)
    letters = [chr(one) for one in (0, 1, 2, 0x7E, 0x7F)]
    every = ["".join(one) for size in (1, 2, 3) for one in product(letters, repeat=size)]
    for needle in every:
        low, high = tokens.bounds(needle)
        path = tokens.path(needle)
        assert {one for one in map(tokens.path, every) if low <= one < high} == {
            one for one in map(tokens.path, every) if one.startswith(path)
        }


def test_a_needle_longer_than_the_longest_prefix_finds_candidates() -> None:
    tokens = PrefixTokens(KEY, 2, 4, 4)
    assert tokens.bounds("mueller") == tokens.bounds("muel")
    assert found(tokens, "muela", "mueller")


def test_a_needle_shorter_than_the_shortest_prefix_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidValue, match="3 characters and more") as caught:
        PrefixTokens(KEY, 3, 4, 4).bounds("hx")
    assert "hx" not in str(caught.value)


def test_the_same_prefix_in_another_place_has_other_bytes() -> None:
    """The bytes of a prefix say which one it is: "aa" is not the second half of "aaaa"."""
    path = PrefixTokens(KEY, 1, 8, 4).path("aaaaaaaa")
    assert len({path[at : at + 4] for at in range(0, len(path), 4)}) == 8


@pytest.mark.parametrize("options", [(0, 3, 4), (4, 3, 4), (1, 256, 4), (1, 3, 0), (1, 3, 33)])
def test_options_have_bounds(options: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigurationError, match="a prefix index has"):
        PrefixTokens(KEY, *options)
