"""Attacks on indexes of numbers: what the attacker takes each row's number for."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from math import log
from statistics import median_low

# Where the sample has fewer numbers in a subtree, it says nothing about what is where in it.
_FEWEST = 8
# Levels of which permutations are tried together, near the root and further down.
_LOOKAHEAD = {2: (6, 4), 4: (3, 2)}
_NEAR_ROOT = 8


def best_guess(sample: Sequence[int], within: int) -> int:
    """Return the number that has the most of a sample around it: a guess that needs no index."""
    ordered = sorted(sample)
    best = max(range(len(ordered)), key=lambda at: bisect_left(ordered, ordered[at] + 2 * within + 1) - at)
    return ordered[best] + within


def by_order(tokens: Sequence[bytes], sample: Sequence[int]) -> list[int]:
    """Guess by rank: the row that is third of ten has the number that is third of ten in the sample."""
    ordered, found = sorted(sample), [0] * len(tokens)
    for rank, row in enumerate(sorted(range(len(tokens)), key=tokens.__getitem__)):
        found[row] = ordered[(2 * rank + 1) * len(ordered) // (2 * len(tokens))]
    return found


class TreeAttack:
    """Finds for each node of the tokens' tree the permutation that makes the sample likeliest.

    From the root on, it compares how many rows each subtree of tokens holds with how many of the sample each
    subtree of numbers holds, for several levels at once.

    Args:
        tokens: of a range index, one a row.
        sample: numbers of the same population.
        bits: of a number.
        arity: of the tree.
    """

    def __init__(self, tokens: Sequence[int], sample: Sequence[int], bits: int, arity: int) -> None:
        self._tokens, self._sample = sorted(tokens), sorted(sample)
        self._bits, self._arity = bits, arity
        self._near, self._far = _LOOKAHEAD[arity]
        wide = arity.bit_length() - 1
        # How many bits are below the nodes of each level, from the root on.
        self._below = [bits, *range((bits - 1) // wide * wide, -1, -wide)]
        self._score = lru_cache(1_000_000)(self._scored)

    def guesses(self) -> dict[int, int]:
        """Return what each token is taken for."""
        found: dict[int, int] = {}
        waiting = [(0, 0, 0)]
        while waiting:
            level, token, number = waiting.pop()
            below = self._below[level]
            held, known = _inside(self._tokens, token, below), _inside(self._sample, number, below)
            if not held:
                continue
            if level == len(self._below) - 1 or len(known) < _FEWEST:
                # Close to where the sample's are, or in the middle.
                middle = median_low(known) if known else (2 * number + 1 << below) // 2
                found.update(dict.fromkeys(held, middle))
                continue
            ahead = self._near if self._bits - self._below[level] < _NEAR_ROOT else self._far
            _, order = self._best(level, token, number, ahead)
            children = self._children(level)
            waiting += [
                (level + 1, token * children + place, number * children + child)
                for child, place in enumerate(order)
            ]
        return found

    def _best(self, level: int, token: int, number: int, ahead: int) -> tuple[float, tuple[int, ...]]:
        """Return the score of the best permutation of a node's children, and the place of each child."""
        children = self._children(level)
        places = range(token * children, (token + 1) * children)
        numbers = range(number * children, (number + 1) * children)
        known = _count(self._sample, number, self._below[level]) + 1
        below = self._below[level + 1]
        rows = [_count(self._tokens, place, below) for place in places]
        likely = [log((_count(self._sample, child, below) + 1 / children) / known) for child in numbers]
        scores = [
            [
                rows[at] * chance + self._score(level + 1, place, child, ahead - 1)
                for at, place in enumerate(places)
            ]
            for child, chance in zip(numbers, likely, strict=True)
        ]
        return max(
            (sum(scores[child][place] for child, place in enumerate(order)), order)
            for order in permutations(range(children))
        )

    def _scored(self, level: int, token: int, number: int, ahead: int) -> float:
        if not ahead or level == len(self._below) - 1 or not _count(self._tokens, token, self._below[level]):
            return 0.0
        return self._best(level, token, number, ahead)[0]

    def _children(self, level: int) -> int:
        return int(1 << self._below[level] - self._below[level + 1])


def _inside(ordered: list[int], node: int, below: int) -> Sequence[int]:
    first = bisect_left(ordered, node << below)
    return ordered[first : bisect_left(ordered, node + 1 << below, first)]


def _count(ordered: list[int], node: int, below: int) -> int:
    first = bisect_left(ordered, node << below)
    return bisect_left(ordered, node + 1 << below, first) - first


def share_within(guesses: Sequence[int], numbers: Sequence[int], within: float) -> float:
    """Return the share of rows whose guess is no further away than that."""
    near = sum(abs(guess - number) <= within for guess, number in zip(guesses, numbers, strict=True))
    return near / len(numbers)
