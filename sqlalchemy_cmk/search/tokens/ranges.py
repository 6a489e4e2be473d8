"""Numbers whose tokens agree in as many leading bits: :class:`RangeTokens`, and how a range is asked for.

A number of n bits is a leaf of a tree in which each node has ``arity`` children. At every node the children
are permuted, each node by a permutation of its own that a pseudorandom function draws, and a token is the
number of the place to which the leaf is moved. With arity 2 this is Crypto-PAn (Xu, Fan, Ammar, Moon:
"Prefix-preserving IP address anonymization", 2002).

A subtree stays a subtree, so its numbers are an interval of tokens. A range of numbers is a union of
subtrees, at most a few a level: its tokens are that many intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, permutations
from math import factorial
from typing import ClassVar, NamedTuple

from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden
from sqlalchemy_cmk.search.tokens.tree import MAX_BITS, Tree, Words

DEFAULT_ARITY = 4
NO_TOKENS = 1, 0

_WIDTHS = {2: 1, 4: 2}


class _Siblings(NamedTuple):
    """Neighbouring children of one node, not all of them.

    Attributes:
        shift: how many bits of a number are below such a child.
        width: how many bits tell the children of the node apart.
        first: the first child: its numbers, shifted right.
        last: the last child.
    """

    shift: int
    width: int
    first: int
    last: int

    @property
    def slots(self) -> int:
        """The most intervals that a permutation of the node's children can make of these."""
        count = self.last - self.first + 1
        return min(count, (1 << self.width) - count + 1)


class _Level(NamedTuple):
    """A level of the tree: its nodes have ``1 << width`` children, with ``shift`` bits of a number below.

    Attributes:
        places: for each permutation of the children, in lexicographic order, the place of each child.
        permutations: how many there are.
        mask: what is left of a number, shifted right, that says which child it is below.
    """

    shift: int
    width: int
    mask: int
    permutations: int
    places: tuple[int, ...]


class RangeTokens:
    """Makes tokens of numbers: another number of as many bits, different for different numbers.

    The tokens of two numbers agree in as many leading digits of ``arity`` as the numbers do, and tell nothing
    else about them. A token of 31 bits and less fits an ``INTEGER``, of 63 a ``BIGINT``.

    Args:
        key: of the index, 32 bytes.
        bits: of a number, 1 to 63.
        arity: 2, or 4, which gives away less and has some more intervals for a range. Where ``bits`` is odd,
            the root has two children.

    Raises:
        ConfigurationError: an option is out of its bounds.
        ValueError: the key does not have 32 bytes.
    """

    kind: ClassVar[str] = "range"

    __slots__ = ("_asked", "_levels", "_tree", "arity", "bits")

    def __init__(self, key: Secret | bytes, bits: int, arity: int = DEFAULT_ARITY) -> None:
        key = hidden(key)
        self._levels = _levels(bits, arity)
        self.bits, self.arity = bits, arity
        self._tree = Tree(key, bits, [level.shift + level.width for level in self._levels])
        self._asked: tuple[int, int, list[tuple[int, int]]] = 1, 0, []

    def token(self, number: int) -> int:
        """Return the token of a number.

        Raises:
            InvalidValue: the number has more bits, or is negative.
        """
        return self._of(number, self._tree.words(number))

    def tokens(self, numbers: Sequence[int]) -> list[int]:
        """Return the tokens of many numbers; raises as :meth:`token` does."""
        return list(map(self._of, numbers, self._tree.words_of(numbers)))

    def interval(self, low: int, high: int, slot: int) -> tuple[int, int]:
        """Return one of the intervals that :meth:`intervals` returns.

        Args:
            low: the first number that is asked for.
            high: the last.
            slot: which of the intervals, from 0 on.

        Returns:
            The first and the last token; ``(1, 0)``, which no token is between, from :func:`slots` on.
        """
        asked = self._asked
        if asked[:2] != (low, high):
            self._asked = asked = low, high, self.intervals(low, high)
        return asked[2][slot] if slot < len(asked[2]) else NO_TOKENS

    def intervals(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the intervals of tokens of the numbers ``low`` to ``high``.

        There are as many as :func:`slots` says, none is empty, and no two have a token in common. Some touch:
        if they were merged, their number would depend on the key. They are in no order.

        Raises:
            InvalidValue: a number has more bits, or is negative.
        """
        found: list[tuple[int, int]] = []
        if _is_empty(low, high, self.bits):
            return found
        # All siblings are children of nodes above the number before the range or the one after it.
        ends = max(low - 1, 0), min(high + 1, (1 << self.bits) - 1)
        ways = [
            (end, self._of(end, words), words)
            for end, words in zip(ends, self._tree.words_of(ends), strict=True)
        ]
        by_shift = {level.shift: (at, level) for at, level in enumerate(self._levels)}
        for siblings in _cover(low, high, self.bits, _WIDTHS[self.arity]):
            if siblings.shift == self.bits:
                return [(0, (1 << self.bits) - 1)]
            at, level = by_shift[siblings.shift]
            above, parent = siblings.shift + siblings.width, siblings.first >> siblings.width
            token, words = next((token, words) for end, token, words in ways if end >> above == parent)
            start = token >> above << level.width
            row = words[at] % level.permutations << level.width
            children = range(siblings.first & level.mask, (siblings.last & level.mask) + 1)
            places = sorted(start + level.places[row + child] for child in children)
            found += [
                (first << level.shift, ((last + 1) << level.shift) - 1)
                for first, last in _runs(places, siblings.slots)
            ]
        return found

    def _of(self, number: int, words: Words) -> int:
        token = 0
        for word, level in zip(words, self._levels, strict=True):
            row = word % level.permutations << level.width
            token = token << level.width | level.places[row + (number >> level.shift & level.mask)]
        return token


def slots(low: int, high: int, bits: int, arity: int) -> int:
    """Return how many intervals of tokens the numbers ``low`` to ``high`` need, whatever the key is.

    The whole domain needs one, and a range without numbers none.

    Args:
        low: the first number, from 0 on where there is any.
        high: the last number, below ``2 ** bits``.
        bits: of a number.
        arity: of the tree.

    Raises:
        ConfigurationError: an option is out of its bounds.
        InvalidValue: a number has more bits, or is negative.
    """
    _levels(bits, arity)
    if _is_empty(low, high, bits):
        return 0
    return sum(siblings.slots for siblings in _cover(low, high, bits, _WIDTHS[arity]))


def _is_empty(low: int, high: int, bits: int) -> bool:
    if low <= high and (low < 0 or high >> bits):
        raise InvalidValue(f"the range is not within 0 to {(1 << bits) - 1}")
    return low > high


def _cover(low: int, high: int, bits: int, width: int) -> Iterator[_Siblings]:
    """Yield the fewest subtrees whose leaves are the range, from the leaves on up; siblings together."""
    shift, first, after = 0, low, high + 1
    while first < after:
        if shift == bits:
            yield _Siblings(shift, 0, 0, 0)
            return
        width = min(width, bits - shift)
        size, above = 1 << width, (after - 1) >> width
        if first >> width == above and after - first < size:
            yield _Siblings(shift, width, first, after - 1)
            return
        if first & (size - 1):
            yield _Siblings(shift, width, first, first | (size - 1))
        if after & (size - 1):
            yield _Siblings(shift, width, above << width, after - 1)
        first, after, shift = -(-first >> width), after >> width, shift + width


def _runs(places: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return neighbouring places as so many runs: where there are fewer, one is divided."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] + 1 == place:
            runs[-1] = runs[-1][0], place
        else:
            runs.append((place, place))
    while len(runs) < count:
        at = next(at for at, (first, last) in enumerate(runs) if first < last)
        first, last = runs[at]
        runs[at : at + 1] = [(first, first), (first + 1, last)]
    return runs


@lru_cache(256)
def _levels(bits: int, arity: int) -> tuple[_Level, ...]:
    """Return the levels of the tree, from the root on; the last ones have ``arity`` children each."""
    if arity not in _WIDTHS:
        raise ConfigurationError(f"a range index has arity 2 or 4, not {arity}")
    if not 1 <= bits <= MAX_BITS:
        raise ConfigurationError(f"a range index has 1 to {MAX_BITS} bits, not {bits}: take a larger step")
    found = []
    for shift in range(0, bits, _WIDTHS[arity]):
        width = min(_WIDTHS[arity], bits - shift)
        size = 1 << width
        places = tuple(chain.from_iterable(permutations(range(size))))
        found.append(_Level(shift, width, size - 1, factorial(size), places))
    return tuple(reversed(found))
