"""SQL that a database keeps as text, taken apart: does it name a column?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

_BACKSLASHES = r"(?:[^'\\]|''|\\.)*"
_PLAIN = r"(?:[^']|'')*"
_QUOTES = {'"': '"', "`": "`", "[": "]"}


@dataclass(frozen=True)
class Word:
    """A name or keyword, a string, or a symbol, and where it ends in the text."""

    text: str
    is_string: bool = False
    is_quoted: bool = False
    end: int = field(default=0, compare=False)

    def names(self, name: str) -> bool:
        """Return whether it may be a name; letters of either case are taken for the same."""
        return not self.is_string and self.text.casefold() == name.casefold()

    def says(self, keyword: str) -> bool:
        """Return whether it is a keyword or a symbol."""
        return not self.is_string and not self.is_quoted and self.text.upper() == keyword


class Text:
    """A definition as the database keeps it.

    Args:
        sql: the definition, or some of its words.
        backslashes: whether a backslash in a string takes the next character's meaning.
    """

    def __init__(self, sql: str | Sequence[Word], *, backslashes: bool = False) -> None:
        if isinstance(sql, str):
            sql = tuple(_words(sql, _BACKSLASHES if backslashes else _PLAIN))
        self.words = tuple(sql)

    def names(self, name: str) -> bool:
        """Return whether it names something of this name."""
        return any(one.names(name) for one in self.words)

    def quotes(self, name: str) -> bool:
        """Return whether it names it in quotes, as MariaDB does; another word is a keyword or a type."""
        return any(one.is_quoted and one.names(name) for one in self.words)

    def says(self, keyword: str) -> bool:
        """Return whether it has a keyword or a symbol."""
        return any(one.says(keyword) for one in self.words)

    def until(self, keyword: str) -> Text:
        """Return what comes before a keyword."""
        return Text(list(takewhile(lambda word: not word.says(keyword), self.words)))

    def computes_with(self, name: str) -> bool:
        """Return whether it asks more of a column than whether it is NULL."""
        following = [*self.words, Word(""), Word(""), Word("")]
        for i, word in enumerate(self.words):
            if word.names(name):
                after = [one for one in following[i + 1 : i + 4] if not one.says("NOT")]
                if not (after[0].says("IS") and after[1].says("NULL")):
                    return True
        return False


def _words(sql: str, string: str) -> Iterator[Word]:
    pattern = re.compile(
        rf"""--[^\n]*|/\*.*?\*/|(?P<e>[eE]'{_BACKSLASHES}')|(?P<string>'{string}')"""
        r"""|(?P<type>::\s*(?:"(?:[^"]|"")*"|\w+))"""
        r"""|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|(?P<word>[\w$]+)|(?P<symbol>\S)""",
        re.DOTALL,
    )
    for found in pattern.finditer(sql):
        text = found[0]
        if found["type"]:
            yield Word("::", end=found.end())
        elif found["e"] or found["string"]:
            yield Word(text, is_string=True, end=found.end())
        elif found["quoted"]:
            quote = _QUOTES[text[0]]
            yield Word(text[1:-1].replace(quote * 2, quote), is_quoted=True, end=found.end())
        elif found["word"] or found["symbol"]:
            yield Word(text, end=found.end())
