"""Attack every kind of index on a made-up table: ``python -m benchmarks.leakage [--rows N] [--seed N]``."""

import argparse
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from benchmarks.leakage.numbers import TreeAttack, best_guess, by_order, share_within
from benchmarks.leakage.population import Person, people
from benchmarks.leakage.texts import by_rank, by_rank_of_prefixes, share_beginning, share_equal
from sqlalchemy_cmk.search.domains import Domain
from sqlalchemy_cmk.search.normalizers import fold
from sqlalchemy_cmk.search.tokens import ExactTokens, OrderedTokens, PrefixTokens, RangeTokens

PAGE = Path(__file__).parent.parent.parent / "docs/search.md"
HEADING = "## What an index tells"
BIRTHS = Domain(dt.date(1900, 1, 1), dt.date(2100, 1, 1))
AMOUNTS = Domain(0, 2**28 - 1)
MONTH, YEAR = 30, 365
Numbers = Sequence[int]


def numbers_table(rows: Sequence[Person], sample: Sequence[Person], key: bytes) -> list[str]:
    """Return the lines of a table of how many dates and amounts are guessed how closely."""
    columns: tuple[tuple[Domain, Callable[[Person], object], tuple[int, int]], ...] = (
        (BIRTHS, lambda person: person.born, (MONTH, YEAR)),
        (AMOUNTS, lambda person: person.amount, (1_000, 10_000)),
    )
    shares: dict[str, list[str]] = {}
    for domain, value, distances in columns:
        numbers, known = ([domain.number(value(person)) for person in some] for some in (rows, sample))
        for name, guesses in _guessed(numbers, known, domain.bits, key, distances[1]).items():
            told = (f"{share_within(guesses, numbers, distance):.1%}" for distance in distances)
            shares.setdefault(name, []).append(" / ".join(told))
    head = ["| index | births within 30 days / 1 year | amounts within 1,000 / 10,000 |", "|---|---|---|"]
    return [*head, *(f"| {' | '.join((name, *told))} |" for name, told in shares.items())]


def _guessed(numbers: Numbers, sample: Numbers, bits: int, key: bytes, within: int) -> dict[str, Numbers]:
    found: dict[str, Numbers] = {
        "none: the best guess": [best_guess(sample, within)] * len(numbers),
        "`Ordered`": by_order(OrderedTokens(key, bits).tokens(numbers), sample),
    }
    for arity in (2, 4):
        tokens = RangeTokens(key, bits, arity).tokens(numbers)
        taken = TreeAttack(tokens, sample, bits, arity).guesses()
        found[f"`Range(arity={arity})`"] = [taken[token] for token in tokens]
    return found


def names_table(rows: Sequence[Person], sample: Sequence[Person], key: bytes) -> list[str]:
    """Return the lines of a table of how many names are guessed."""
    exact, prefix = ExactTokens(key), PrefixTokens(key)
    lines = ["| index | rows whose name is guessed |", "|---|---|"]
    for column in ("first", "last", "name"):
        texts, known = ([fold(getattr(person, column)) for person in some] for some in (rows, sample))
        share = share_equal(by_rank(exact.tokens(text.encode() for text in texts), known), texts)
        what = "first and last name" if column == "name" else f"{column} name"
        lines.append(f"| `Exact` on the {what} | {share:.1%} |")
    guesses = by_rank_of_prefixes(prefix.paths(texts), known, prefix.min, prefix.width)
    shares = (
        f"the first {count} characters {share_beginning(guesses, texts, count):.1%}" for count in (2, 5, 8)
    )
    return [*lines, f"| `Prefix` on both | {', '.join(shares)} |"]


def explained() -> list[str]:
    """Return the table of docs/search.md that says what each index tells."""
    section = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leakage", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the table and the sample; 100,000")
    parser.add_argument("--seed", type=int, default=1, help="of the population and the key; 1")
    options = parser.parse_args(arguments)
    random = Random(options.seed)
    rows, sample = people(options.rows, random), people(options.rows, random)
    key = random.randbytes(32)
    print(f"A stolen table of {options.rows:,} rows, and a sample as large; no query was seen.\n")
    print("\n".join(numbers_table(rows, sample, key)), "\n")
    print("\n".join(names_table(rows, sample, key)), "\n")
    print("\n".join(explained()))


if __name__ == "__main__":
    main()
