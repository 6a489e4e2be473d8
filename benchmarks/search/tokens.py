"""What a token costs to make, in microseconds, and how many intervals a range has: no database.

``python -m benchmarks.search.tokens [--quick]``. The names are Faker's, as often as they are; n-grams that
many names share are made once and kept.
"""

import argparse
from collections.abc import Callable, Sequence
from random import Random
from statistics import median

from benchmarks.leakage.population import people
from benchmarks.targets import TARGETS, judged
from benchmarks.timing import Rounds, timed
from sqlalchemy_cmk.search.normalizers import fold
from sqlalchemy_cmk.search.tokens import (
    ExactTokens,
    NGramTokens,
    OrderedTokens,
    PrefixTokens,
    RangeTokens,
    slots,
)

NAMES = 3_000
ROUNDS, QUICK_ROUNDS = 31, 3
KEY = bytes(range(32))
# Bits of a number, and what has so many.
DOMAINS = {17: "17 bits: dates of 200 years", 28: "28 bits", 53: "53 bits: microseconds of 200 years"}
WIDTHS: dict[str, Callable[[int], int]] = {
    "about 100 numbers": lambda bits: 100,
    "about a third": lambda bits: 2**bits // 3,
}


def tokens(rounds: int) -> dict[str, float]:
    """Return the microseconds that each value takes."""
    random = Random(1)
    names = [person.name for person in people(NAMES, random)]
    folded = list(map(fold, names))
    plaintexts = [name.encode() for name in folded]
    numbers = {bits: [random.getrandbits(bits) for _ in range(NAMES)] for bits in DOMAINS}
    exact, prefix, grams = ExactTokens(KEY), PrefixTokens(KEY), NGramTokens(KEY)
    work: dict[str, Callable[[], object]] = {
        "fold": lambda: list(map(fold, names)),
        "Exact": lambda: exact.tokens(plaintexts),
        "Prefix, 2 to 12 characters": lambda: prefix.paths(folded),
        "NGram, 3 characters, kept": lambda: list(map(grams.tokens, folded)),
        "NGram, 3 characters, none kept": lambda: list(map(NGramTokens(KEY).tokens, folded)),
    }
    for bits, what in DOMAINS.items():
        for arity in (2, 4):
            one = RangeTokens(KEY, bits, arity)
            work[f"Range, arity {arity}, {what}"] = lambda one=one, bits=bits: list(
                map(one.token, numbers[bits])
            )
        work[f"Range, arity 4, {what}, many at once"] = lambda one=one, bits=bits: one.tokens(numbers[bits])
    ordered = OrderedTokens(KEY, 28)
    work["Ordered, 28 bits"] = lambda: list(map(ordered.token, numbers[28]))
    wide = RangeTokens(KEY, 28, 4)
    work["intervals of a third of 28 bits"] = lambda: [
        wide.intervals(one, one + 2**28 // 3) for one in range(NAMES)
    ]
    seconds = Rounds({name: lambda call=call: timed(call)[0] for name, call in work.items()}, rounds)
    return {name: seconds.median(name) / NAMES * 1e6 for name in work}


def intervals(draws: int) -> list[str]:
    """Return the lines of a table of how many intervals a range has."""
    random = Random(1)
    lines = ["| numbers | a range of | arity 2: median, most | arity 4: median, most |", "|---|---|---|---|"]
    for bits, what in DOMAINS.items():
        for width, size in WIDTHS.items():
            asked = []
            for _ in range(draws):
                count = round(size(bits) * random.uniform(0.5, 1.5))
                low = random.randrange(2**bits - count)
                asked.append((low, low + count - 1))
            cells = []
            for arity in (2, 4):
                counts = [slots(low, high, bits, arity) for low, high in asked]
                cells.append(f"{median(counts):.0f}, {max(counts)}")
            lines.append(f"| {what} | {width} | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.tokens", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, not {ROUNDS}")
    options = parser.parse_args(arguments)
    print("microseconds a value")
    for name, value in tokens(QUICK_ROUNDS if options.quick else ROUNDS).items():
        print(judged(name, value, TARGETS["tokens"].get(name)))
    print("\nintervals")
    print("\n".join(intervals(200 if options.quick else 5_000)))


if __name__ == "__main__":
    main()
