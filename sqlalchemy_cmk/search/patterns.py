"""What a ``LIKE`` pattern asks of a text, the same on every database: :class:`Pattern`.

``%`` stands for any characters, also none, and ``_`` for one: a code point. Upper and lower case differ.
Without an ``escape``, no character takes the meaning of ``%`` and ``_`` away, as in standard SQL; in the LIKE
of PostgreSQL and MariaDB the backslash does. An escape character stands before ``%``, ``_`` or itself.

A pattern is asked of normalized texts: its own texts are normalized one by one, each from one wildcard to the
next.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sqlalchemy_cmk.errors import InvalidValue

# A part of a pattern between two %: the texts between its underscores, of which there is one less.
Part = tuple[str, ...]

_ANY, _ONE = "%", "_"


class Asks(Enum):
    """What a pattern asks, as far as one index could answer it."""

    ANYTHING = "is it a text at all"
    EXACTLY = "is it this text"
    BEGINNING = "does it begin with this text"
    END = "does it end with this text"
    CONTAINING = "are these texts in it, one behind the other"
    MORE = "of several of these, or with single characters left open"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern, taken apart.

    Attributes:
        parts: what is between any characters; the first and the last are empty if the pattern begins or
            ends with ``%``. The pattern without a ``%`` has one part.
    """

    parts: tuple[Part, ...]

    @property
    def asks(self) -> Asks:
        """What it asks."""
        first, *middle = self.parts
        if any(len(part) > 1 for part in self.parts):
            return Asks.MORE
        if not middle:
            return Asks.EXACTLY
        last = middle.pop()
        if first == last == ("",):
            return Asks.CONTAINING if middle else Asks.ANYTHING
        if middle or (first != ("",) and last != ("",)):
            return Asks.MORE
        return Asks.END if first == ("",) else Asks.BEGINNING

    @property
    def exactly(self) -> str | None:
        """The only text that it fits; ``None`` if there are others."""
        return self.parts[0][0] if self.asks is Asks.EXACTLY else None

    @property
    def beginning(self) -> str:
        """What every text that it fits begins with; may be empty."""
        return self.parts[0][0]

    @property
    def end(self) -> str:
        """What every text that it fits ends with; may be empty."""
        return self.parts[-1][-1]

    @property
    def texts(self) -> tuple[str, ...]:
        """What every text that it fits contains, one behind the other; none of them is empty."""
        return tuple(text for part in self.parts for text in part if text)

    def normalized(self, normalize: Callable[[str], str] | None) -> Pattern:
        """Return the pattern that is asked of normalized texts."""
        if normalize is None:
            return self
        return Pattern(tuple(tuple(text and normalize(text) for text in part) for part in self.parts))

    @property
    def only_part(self) -> str | None:
        """The text that a text has to contain, and nothing else; ``None`` if it asks for more."""
        found = self.asks is Asks.CONTAINING and len(self.parts) == 3
        return self.parts[1][0] if found else None

    def matches(self, text: str) -> bool:
        """Return whether it fits a text."""
        first, *middle = self.parts
        if not middle:
            return _length(first) == len(text) and _fits(first, text, 0)
        last = middle.pop()
        at, end = _length(first), len(text) - _length(last)
        if at > end or not _fits(first, text, 0) or not _fits(last, text, end):
            return False
        # The first place is the best one: it leaves most to what follows.
        for part in middle:
            found = _find(part, text, at, end)
            if found < 0:
                return False
            at = found + _length(part)
        return True


def pattern_of(written: str, escape: str | None = None) -> Pattern:
    """Return a pattern of ``LIKE``, taken apart.

    Args:
        written: the pattern.
        escape: the character that makes one of itself, of ``%`` and of ``_`` behind it; none by default.

    Raises:
        InvalidValue: the pattern is not text, the escape not one character, or it stands before another. The
            message shows no pattern.
    """
    if not isinstance(written, str):
        raise InvalidValue(f"LIKE compares with a text, not with {type(written).__name__}")
    if escape is not None and (not isinstance(escape, str) or len(escape) != 1):
        raise InvalidValue("LIKE: the escape is one character")
    parts: list[list[str]] = [[""]]
    characters = iter(written)
    for character in characters:
        if character == escape:
            character = next(characters, "")
            if character not in (_ANY, _ONE, escape):
                raise InvalidValue(
                    "LIKE: the escape character stands before %, _ or itself: write it twice where it means "
                    "itself, or call startswith(), endswith() or contains() with autoescape=True"
                )
            parts[-1][-1] += character
        elif character == _ONE:
            parts[-1].append("")
        elif character == _ANY:
            parts.append([""])
        else:
            parts[-1][-1] += character
    first, *others = (tuple(part) for part in parts)
    if not others:
        return Pattern((first,))
    last = others.pop()
    return Pattern((first, *(part for part in others if part != ("",)), last))


def _length(part: Part) -> int:
    return sum(map(len, part)) + len(part) - 1


def _fits(part: Part, text: str, at: int) -> bool:
    for one in part:
        if not text.startswith(one, at):
            return False
        at += len(one) + 1
    return True


def _find(part: Part, text: str, at: int, end: int) -> int:
    """Return the first place of a part in a text, between two places; -1 where there is none."""
    if len(part) == 1:
        return text.find(part[0], at, end)
    found = re.compile(".".join(map(re.escape, part)), re.DOTALL).search(text, at, end)
    return -1 if found is None else found.start()
