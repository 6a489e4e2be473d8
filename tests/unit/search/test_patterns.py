"""What LIKE patterns ask, against a regular expression made straight from the pattern."""

import re
import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sqlalchemy_cmk import InvalidValue
from sqlalchemy_cmk.search.patterns import Asks, pattern_of

_alphabet = st.text("aA%_\\ß\u0301😀", max_size=8)
_texts = st.text("aA%_\\ß\u0301😀", max_size=12)
_escapes = st.sampled_from([None, "\\", "a", "%", "_"])


def _as_regex(written: str, escape: str | None) -> str | None:
    """Return the pattern as a regular expression; ``None`` if the escape is misplaced."""
    made, at = "", 0
    while at < len(written):
        character = written[at]
        if character == escape:
            at += 1
            if written[at : at + 1] not in ("%", "_", escape):
                return None
            made += re.escape(written[at])
        else:
            made += {"%": ".*", "_": "."}.get(character, re.escape(character))
        at += 1
    return made


@given(_alphabet, _escapes, _texts)
@example("%a_a%", None, "aaAaßa")
@example("a%a", None, "a")
@example("%", None, "\n")
def test_a_pattern_fits_the_texts_that_its_regular_expression_does(
    written: str, escape: str | None, text: str
) -> None:
    regex = _as_regex(written, escape)
    if regex is None:
        with pytest.raises(InvalidValue, match="escape character stands before"):
            pattern_of(written, escape)
    else:
        fits = re.fullmatch(regex, text, re.DOTALL) is not None
        assert pattern_of(written, escape).matches(text) is fits


@given(st.text("aA%_", max_size=6), st.text("aA%_", max_size=8))
def test_a_pattern_fits_what_it_fits_in_a_database_that_heeds_case(written: str, text: str) -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA case_sensitive_like = 1")
        (fits,) = database.execute("SELECT ? LIKE ?", (text, written)).fetchone()
    database.close()
    assert pattern_of(written).matches(text) is bool(fits)


@pytest.mark.parametrize(
    ("written", "asks"),
    [
        ("", Asks.EXACTLY),
        ("har", Asks.EXACTLY),
        ("%", Asks.ANYTHING),
        ("%%%", Asks.ANYTHING),
        ("har%", Asks.BEGINNING),
        ("har%%", Asks.BEGINNING),
        ("%ris", Asks.END),
        ("%ar%", Asks.CONTAINING),
        ("%ar%is%", Asks.CONTAINING),
        ("h%s", Asks.MORE),
        ("h%r%", Asks.MORE),
        ("%r%s", Asks.MORE),
        ("h_r", Asks.MORE),
        ("_", Asks.MORE),
        ("%_%", Asks.MORE),
    ],
)
def test_a_pattern_says_what_it_asks(written: str, asks: Asks) -> None:
    assert pattern_of(written).asks is asks


@given(_alphabet, _texts)
def test_what_a_pattern_asks_is_what_it_fits(written: str, text: str) -> None:
    pattern = pattern_of(written)
    fits = pattern.matches(text)
    same = {
        Asks.ANYTHING: lambda: True,
        Asks.EXACTLY: lambda: text == pattern.exactly,
        Asks.BEGINNING: lambda: text.startswith(pattern.beginning),
        Asks.END: lambda: text.endswith(pattern.end),
    }.get(pattern.asks)
    if same is not None:
        assert fits is same()
    assert pattern.asks is Asks.EXACTLY or pattern.exactly is None
    if fits:
        assert text.startswith(pattern.beginning) and text.endswith(pattern.end)
        assert all(one in text for one in pattern.texts)


@given(_alphabet, _texts)
def test_a_normalized_pattern_is_asked_of_normalized_texts(written: str, text: str) -> None:
    by_hand = "".join(one if one in "%_" else one.casefold() for one in written)
    folded = pattern_of(written).normalized(str.casefold)
    assert folded == pattern_of(by_hand)
    assert folded.matches(text.casefold()) is pattern_of(by_hand).matches(text.casefold())
    assert pattern_of(written).normalized(None) == pattern_of(written)


def test_without_an_escape_a_backslash_means_itself() -> None:
    assert pattern_of("50\\%").matches("50\\ and more")
    assert pattern_of("50\\%", escape="\\").exactly == "50%"


@pytest.mark.parametrize("escape", ["", "ab", 7])
def test_an_escape_is_one_character(escape: object) -> None:
    with pytest.raises(InvalidValue, match="one character"):
        pattern_of("a", escape)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", [b"secret", 7, None])
def test_a_pattern_is_a_text_and_no_error_shows_it(written: object) -> None:
    with pytest.raises(InvalidValue) as refused:
        pattern_of(written)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


def test_a_long_text_is_searched_in_a_short_time() -> None:
    assert not pattern_of("%a" * 40 + "%b%").matches("a" * 20_000)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("%ab%", "ab"),
        ("%ab", None),
        ("ab%", None),
        ("ab", None),
        ("%a_b%", None),
        ("%a%b%", None),
        ("%", None),
    ],
)
def test_the_only_part_is_what_a_text_has_to_contain_and_nothing_else(written: str, part: str | None) -> None:
    assert pattern_of(written).only_part == part
