"""N-gram tokens: a text that contains a needle has all of the needle's tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.search.tokens import NGramTokens
from sqlalchemy_cmk.search.tokens import ngrams as ngrams_module

unhurried = settings(deadline=None)
KEY = bytes(range(32))

texts = st.text("abä\U0001f600", max_size=12)


@unhurried
@given(texts, texts, texts, st.integers(1, 8))
def test_a_text_has_the_tokens_of_all_that_it_contains(
    before: str, needle: str, after: str, size: int
) -> None:
    tokens = NGramTokens(KEY, size)
    assert set(tokens.tokens(needle)) <= set(tokens.tokens(before + needle + after))


@unhurried
@given(texts, st.integers(1, 8))
def test_tokens_are_64_bits_and_ascend_and_there_is_one_for_each_ngram(text: str, size: int) -> None:
    found = NGramTokens(KEY, size).tokens(text)
    assert found == sorted(set(found)) and all(-(2**63) <= one < 2**63 for one in found)
    assert len(found) == len({text[at : at + size] for at in range(len(text) - size + 1)})


def test_both_halves_of_the_64_bits_are_used() -> None:
    found = NGramTokens(KEY).tokens("Donaudampfschifffahrt")
    assert found[0] < 0 < found[-1]


def test_a_text_shorter_than_an_ngram_has_no_tokens() -> None:
    assert NGramTokens(KEY, 3).tokens("ab") == NGramTokens(KEY, 3).tokens("") == []


def test_what_is_kept_changes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    whole = NGramTokens(KEY).tokens(text)
    monkeypatch.setattr(ngrams_module, "_KEPT", 2)
    small = NGramTokens(KEY)
    assert small.tokens(text) == whole == small.tokens(text)


@pytest.mark.parametrize("size", [0, 9])
def test_the_size_has_bounds(size: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 8 characters"):
        NGramTokens(KEY, size)
