"""Attack every kind of index on made-up tables: ``python -m benchmarks.leakage [--rows N] [--runs N]``."""

import argparse
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean

from benchmarks.leakage.numbers import TreeAttack, best_guess, by_order, share_within
from benchmarks.leakage.population import Person, people
from benchmarks.leakage.texts import by_rank, by_rank_of_prefixes, share_beginning, share_equal
from sqlalchemy_cmk.search.domains import Domain
from sqlalchemy_cmk.search.normalizers import fold
from sqlalchemy_cmk.search.tokens import ExactTokens, OrderedTokens, PrefixTokens, RangeTokens

PAGE = Path(__file__).parent.parent.parent / "docs/search.md"
HEADING = "## What an index tells"
MONTH, YEAR = 30, 365
CHARACTERS = 2, 5, 8
Numbers = Sequence[int]
Shares = Iterator[tuple[str, tuple[float, ...]]]


@dataclass(frozen=True)
class World:
    """A table, a sample of the same population, and the key that the attacker does not have."""

    rows: Sequence[Person]
    sample: Sequence[Person]
    key: bytes


@dataclass(frozen=True)
class Numeric:
    """A column of numbers.

    Attributes:
        name: what it holds.
        domain: of its index.
        value: what a person has in it.
        distances: how close a guess is taken for a good one.
    """

    name: str
    domain: Domain
    value: Callable[[Person], object]
    distances: tuple[int, int]


BIRTHS = Numeric(
    *("births within 30 days / 1 year", Domain(dt.date(1900, 1, 1), dt.date(2100, 1, 1))),
    *(lambda person: person.born, (MONTH, YEAR)),
)
AMOUNTS = Numeric(
    *("amounts within 1,000 / 10,000", Domain(0, 2**28 - 1)),
    *(lambda person: person.amount, (1_000, 10_000)),
)


def numbers(world: World, column: Numeric) -> Shares:
    """Yield each index, and the share of rows whose number is guessed as closely as is asked."""
    held, known = (
        [column.domain.number(column.value(person)) for person in some] for some in (world.rows, world.sample)
    )
    for name, guesses in _guessed(held, known, column, world.key):
        yield name, tuple(share_within(guesses, held, distance) for distance in column.distances)


def _guessed(held: Numbers, known: Numbers, column: Numeric, key: bytes) -> Iterator[tuple[str, Numbers]]:
    bits = column.domain.bits
    yield "none: the best guess", [best_guess(known, column.distances[1])] * len(held)
    yield "`Ordered`", by_order(OrderedTokens(key, bits).tokens(held), known)
    for arity in (2, 4):
        tokens = RangeTokens(key, bits, arity).tokens(held)
        taken = TreeAttack(tokens, known, bits, arity).guesses()
        yield f"`Range(arity={arity})`", [taken[token] for token in tokens]


def names(world: World) -> Shares:
    """Yield each index, and the shares of rows whose name is guessed, or its first characters."""
    for attribute, what in (("first", "first name"), ("last", "last name"), ("name", "first and last name")):
        texts, known = (
            [fold(getattr(person, attribute)) for person in some] for some in (world.rows, world.sample)
        )
        tokens = ExactTokens(world.key).tokens(text.encode() for text in texts)
        yield f"`Exact`: {what}", (share_equal(by_rank(tokens, known), texts),)
    prefix = PrefixTokens(world.key)
    guesses = by_rank_of_prefixes(prefix.paths(texts), known, prefix.min, prefix.width)
    for count in CHARACTERS:
        yield f"`Prefix`: the first {count} characters of both", (share_beginning(guesses, texts, count),)


def averaged(runs: Sequence[Shares]) -> dict[str, str]:
    """Return the mean shares of each index, as they are printed."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for run in runs:
        for name, shares in run:
            found[name].append(shares)
    return {
        name: " / ".join(f"{mean(of_runs):.1%}" for of_runs in zip(*shares, strict=True))
        for name, shares in found.items()
    }


def table(head: Sequence[str], columns: Sequence[dict[str, str]]) -> str:
    """Return a table, with a line for each key."""
    lines = [
        list(head),
        ["---"] * len(head),
        *([name, *(one[name] for one in columns)] for name in columns[0]),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def explained() -> str:
    """Return the table of docs/search.md that says what each index tells."""
    section = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n### ")[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leakage", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of a table and of a sample; 100,000")
    parser.add_argument("--runs", type=int, default=3, help="tables to take the mean of; 3")
    parser.add_argument("--seed", type=int, default=1, help="of the populations and the keys; 1")
    options = parser.parse_args(arguments)
    random = Random(options.seed)
    worlds = [
        World(people(options.rows, random), people(options.rows, random), random.randbytes(32))
        for _ in range(options.runs)
    ]
    print(f"Stolen tables of {options.rows:,} rows, each with a sample as large; no query was seen.\n")
    numeric = (BIRTHS, AMOUNTS)
    shares = [averaged([numbers(world, column) for world in worlds]) for column in numeric]
    print(table(["index", *(column.name for column in numeric)], shares), "\n")
    print(table(["index", "rows that are guessed"], [averaged([names(world) for world in worlds])]), "\n")
    print(explained())


if __name__ == "__main__":
    main()
