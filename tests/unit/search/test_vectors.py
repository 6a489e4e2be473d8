"""The known answers of search tokens, which the code of docs/search-format.md has made."""

import datetime as dt
import json
from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.search.domains import Domain
from sqlalchemy_cmk.search.normalizers import fold
from sqlalchemy_cmk.search.tokens import (
    CompoundTokens,
    ExactTokens,
    NGramTokens,
    OrderedTokens,
    PrefixTokens,
    RangeTokens,
    index_info,
    index_key,
    slots,
)
from sqlalchemy_cmk.search.tokens.tags import tag_of
from tests.vectors import make_search

KNOWN: dict[str, Any] = json.loads(make_search.FILE.read_text(encoding="utf-8"))


def each(name: str) -> Any:
    return pytest.mark.parametrize("one", KNOWN[name])


def key(one: dict[str, Any]) -> bytes:
    return bytes.fromhex(one["key"])


def test_the_code_of_the_page_makes_the_file() -> None:
    assert make_search.FILE.read_text(encoding="utf-8") == make_search.text()


def test_the_published_answers_are_what_they_were() -> None:
    assert (
        sha256(make_search.FILE.read_bytes()).hexdigest()
        == "dd2a6ac61097be171fe368798029248afe5208011911d180fb410272f956fcae"
    )


def test_keys_with_their_infos_and_tags() -> None:
    for one in KNOWN["keys"]:
        context = Context(("",), bytes.fromhex(one["context"]))
        info = index_info(one["kind"], context, one["normalizer"], one["parameters"])
        assert info.hex() == one["info"]
        assert index_key(bytes.fromhex(one["dek"]), info).reveal() == key(one)
        assert tag_of(key(one)).hex() == one["tag"]


def test_folded_texts() -> None:
    assert [fold(one["text"]) for one in KNOWN["fold"]] == [one["folded"] for one in KNOWN["fold"]]


def test_exact_tokens() -> None:
    for one in KNOWN["exact"]:
        assert ExactTokens(key(one), one["bits"]).token(bytes.fromhex(one["plaintext"])).hex() == one["token"]


def test_compound_tokens() -> None:
    for one in KNOWN["compound"]:
        info = index_info(
            "compound", Context(("",), bytes.fromhex(one["context"])), "identity/1", {"bits": 128}
        )
        assert info.hex() == one["info"]
        token = CompoundTokens(key(one)).token([bytes.fromhex(each) for each in one["plaintexts"]])
        assert token.hex() == one["token"]


def test_paths_and_their_bounds() -> None:
    for one in KNOWN["prefix"]:
        tokens = PrefixTokens(key(one), one["min"], one["max"], one["width"])
        assert tokens.path(one["text"]).hex() == one["path"]
        if "low" in one:
            assert [bound.hex() for bound in tokens.bounds(one["text"])] == [one["low"], one["high"]]
    assert any("low" in one for one in KNOWN["prefix"])


def test_ngrams() -> None:
    for one in KNOWN["ngram"]:
        assert NGramTokens(key(one), one["size"]).tokens(one["text"]) == one["tokens"]


@each("numbers")
def test_numbers(one: dict[str, Any]) -> None:
    values = one["parameters"]["values"]
    least, most, value = (read(values, one[name]) for name in ("min", "max", "value"))
    step = one["step"] if values == "int" else Decimal(one["step"]) if values == "Decimal" else None
    domain = Domain(least, most, dt.timedelta(microseconds=one["step"]) if step is None else step)
    assert domain.parameters == one["parameters"]
    assert domain.number(value) == one["number"]


def read(values: str, shown: Any) -> Any:
    if values == "date":
        return dt.date.fromisoformat(shown)
    if values.startswith("datetime"):
        return dt.datetime.fromisoformat(shown)
    return Decimal(shown) if values == "Decimal" else shown


def test_range_tokens() -> None:
    for one in KNOWN["range"]:
        assert RangeTokens(key(one), one["bits"], one["arity"]).token(one["number"]) == one["token"]


def test_the_intervals_of_ranges() -> None:
    for one in KNOWN["intervals"]:
        low, high, bits, arity = (one[name] for name in ("low", "high", "bits", "arity"))
        found = RangeTokens(key(one), bits, arity).intervals(low, high)
        assert len(found) == one["slots"] == slots(low, high, bits, arity)
        assert merged(found) == [tuple(interval) for interval in one["intervals"]]


def merged(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the same numbers in as few intervals as there can be."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(intervals):
        if found and found[-1][1] + 1 == first:
            first = found.pop()[0]
        found.append((first, last))
    return found


def test_ordered_tokens() -> None:
    for one in KNOWN["ordered"]:
        assert OrderedTokens(key(one), one["bits"]).token(one["number"]).hex() == one["token"]
