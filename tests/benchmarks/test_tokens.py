"""The benchmark of tokens measures what it names."""

import pytest

from benchmarks.search import tokens
from benchmarks.targets import TARGETS


def test_every_target_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "NAMES", 20)
    assert set(TARGETS["tokens"]) <= set(tokens.tokens(1))


def test_the_intervals_of_every_domain_are_counted_for_both_arities() -> None:
    head, _, *lines = tokens.intervals(20)
    assert head.count("arity") == 2
    assert len(lines) == len(tokens.DOMAINS) * len(tokens.WIDTHS)
