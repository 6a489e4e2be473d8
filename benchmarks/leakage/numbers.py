"""Attacks on indexes of numbers: what the attacker takes each row's number for."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from math import log
from statistics import median_low

# Where the sample has fewer numbers in a subtree, it says nothing about what is where in it.
_FEWEST = 8
# How many bits of a number are guessed together: those at the root, and then always so many more.
_FIRST_BITS, _MORE_BITS = 10, 4


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
    subtree of numbers holds. It finds the best permutations of all nodes of the first ten bits together, then
    those of the next four bits below each node, and so on.

    Args:
        tokens: of a range index, one a row.
        sample: numbers of the same population.
        bits: of a number.
        arity: of the tree.
    """

    def __init__(self, tokens: Sequence[int], sample: Sequence[int], bits: int, arity: int) -> None:
        self._tokens, self._sample = sorted(tokens), sorted(sample)
        wide = arity.bit_length() - 1
        self._first, self._more = _FIRST_BITS // wide, _MORE_BITS // wide
        # How many bits are below the nodes of each level, from the root on.
        self._below = [bits, *range((bits - 1) // wide * wide, -1, -wide)]
        # For each level, how many rows and how many of the sample are below each of its nodes.
        self._rows, self._known = (
            [Counter(one >> below for one in numbers) for below in self._below]
            for numbers in (self._tokens, self._sample)
        )
        self._score = lru_cache(1_000_000)(self._scored)

    def guesses(self) -> dict[int, int]:
        """Return what each token is taken for."""
        found: dict[int, int] = {}
        waiting = [(0, 0, 0, self._first)]
        while waiting:
            level, token, number, until = waiting.pop()
            below = self._below[level]
            held, known = _inside(self._tokens, token, below), _inside(self._sample, number, below)
            if not held:
                continue
            if level == len(self._below) - 1 or len(known) < _FEWEST:
                # Close to where the sample's are, or in the middle.
                middle = median_low(known) if known else (2 * number + 1 << below) // 2
                found.update(dict.fromkeys(held, middle))
                continue
            until += self._more if level == until else 0
            _, order = self._best(level, token, number, until)
            children = self._children(level)
            waiting += [
                (level + 1, token * children + place, number * children + child, until)
                for child, place in enumerate(order)
            ]
        return found

    def _best(self, level: int, token: int, number: int, until: int) -> tuple[float, tuple[int, ...]]:
        """Return the score of the best permutation of a node's children, and the place of each child."""
        children = self._children(level)
        places = range(token * children, (token + 1) * children)
        numbers = range(number * children, (number + 1) * children)
        rows, known = self._rows[level + 1], self._known[level + 1]
        all_known = self._known[level][number] + 1
        scores = [
            [
                rows[place] * log((known[child] + 1 / children) / all_known)
                + self._score(level + 1, place, child, until)
                for place in places
            ]
            for child in numbers
        ]
        return max(
            (sum(scores[child][place] for child, place in enumerate(order)), order)
            for order in permutations(range(children))
        )

    def _scored(self, level: int, token: int, number: int, until: int) -> float:
        if level in (until, len(self._below) - 1) or not self._rows[level][token]:
            return 0.0
        return self._best(level, token, number, until)[0]

    def _children(self, level: int) -> int:
        return int(1 << self._below[level] - self._below[level + 1])


def _inside(ordered: list[int], node: int, below: int) -> Sequence[int]:
    first = bisect_left(ordered, node << below)
    return ordered[first : bisect_left(ordered, node + 1 << below, first)]


def share_within(guesses: Sequence[int], numbers: Sequence[int], within: float) -> float:
    """Return the share of rows whose guess is no further away than that."""
    near = sum(abs(guess - number) <= within for guess, number in zip(guesses, numbers, strict=True))
    return near / len(numbers)
