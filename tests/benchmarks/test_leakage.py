"""The attacks on search indexes find what there is to find, so that their failures mean something."""

from itertools import chain
from random import Random

import pytest

from benchmarks.leakage import __main__ as script
from benchmarks.leakage.numbers import TreeAttack, best_guess, by_order, share_within
from benchmarks.leakage.population import people
from benchmarks.leakage.texts import by_rank, by_rank_of_prefixes
from sqlalchemy_cmk.search.tokens import ExactTokens, OrderedTokens, PrefixTokens, RangeTokens

KEY = bytes(range(32))
# Number n occurs n times: no two subtrees of one size hold as many.
SKEWED = list(chain.from_iterable([number] * number for number in range(1, 64)))


@pytest.mark.parametrize("arity", [2, 4])
def test_the_attack_on_a_range_turns_all_permutations_back_where_frequencies_tell(arity: int) -> None:
    tokens = RangeTokens(KEY, 6, arity).tokens(SKEWED)
    taken = TreeAttack(tokens, SKEWED, 6, arity).guesses()
    near = share_within([taken[token] for token in tokens], SKEWED, 1)
    assert near > 0.95 > 0.5 > share_within(tokens, SKEWED, 1)


def test_the_attack_on_an_order_finds_every_number_of_the_sample() -> None:
    assert by_order(OrderedTokens(KEY, 6).tokens(SKEWED), SKEWED) == SKEWED


def test_the_best_guess_has_the_most_of_the_sample_around_it() -> None:
    assert best_guess([1, 50, 60, 61, 62, 99], 5) == 65
    assert share_within([65] * 6, [1, 50, 60, 61, 62, 99], 5) == 0.5


def test_the_attacks_on_texts_match_what_is_most_frequent() -> None:
    texts = ["anna"] * 3 + ["bob"] * 2 + ["eve"]
    assert by_rank(ExactTokens(KEY).tokens(text.encode() for text in texts), texts) == texts
    prefix = PrefixTokens(KEY, 2, 4, 4)
    assert by_rank_of_prefixes(prefix.paths(texts), texts, 2, 4) == texts


def test_a_population_is_skewed_and_drawn_again_by_its_seed() -> None:
    drawn = people(500, Random(7))
    assert drawn == people(500, Random(7)) != people(500, Random(8))
    assert max([person.last for person in drawn].count(person.last) for person in drawn) > 3


def test_the_tables_are_printed_with_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    script.main(["--rows", "300", "--runs", "1"])
    printed = capsys.readouterr().out
    for line in ("| `Range(arity=4)` | ", "| `Exact`: last name | ", "| `NGram` | which rows share n-grams"):
        assert line in printed
