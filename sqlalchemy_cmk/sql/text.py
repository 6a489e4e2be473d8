"""The text of a statement that was written by hand, with its parameters and without its strings.

A small reader of its own: it finds where a driver puts values, which no dialect of SQL knows, and refuses
what this reader, sqlglot's and the database's could read in different ways. It is stricter than all three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NoReturn

from sqlalchemy_cmk.databases.sql_text import Lexis
from sqlalchemy_cmk.errors import UnsupportedOperation

Key = int | str

# What the parameters are called in the text that is parsed.
MARK = "cmk_parameter_"

# As SQLAlchemy writes it behind a parameter for PostgreSQL.
_CAST = re.compile(
    r"::\s*(?:TIME(?:STAMP)? WITH(?:OUT)? TIME ZONE|DOUBLE PRECISION|[A-Z]\w*)(?![\w(\[])", re.IGNORECASE
)

_PARAMETERS = {
    "question": r"\?|:(?P<name>[A-Za-z_]\w*)",
    "percent": r"%\((?P<name>[^)]*)\)[sbt]|%[sbt]",
    "dollar": r"\$(?P<number>\d+)",
}


# From where to where in the parsed text something takes the place of what was there, and what it is: texts,
# and ``-1`` for a parameter, whose key is the next element.
Edit = tuple[int, int, Sequence[Key]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where a driver puts a value.

    Attributes:
        key: the value's number, from 0, or its name.
        start: where it begins in the parsed text.
        end: where it ends there.
    """

    key: Key
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SqlText:
    """A statement as it is parsed.

    Attributes:
        parsed: the text, with a name for each parameter and spaces for comments.
        bare: the same without what quotes hold, and question marks for parameters: as long as that, and with
            the same brackets and keywords.
        names: what quotes hold that are no strings in every database.
        parameters: its parameters, in the order of the text.
        style: how its driver writes parameters: ``question``, ``percent`` or ``dollar``.
        is_changed: whether the text is not the one that the caller gave.
    """

    parsed: str
    bare: str
    names: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    style: str
    is_changed: bool = False

    def without_casts(self, numbers: Iterable[int]) -> SqlText:
        """Return the text without the casts behind some parameters: sealed bytes are of no other type.

        Raises:
            UnsupportedOperation: one is cast in another form than ``::TYPE``.
        """
        parsed = self.parsed
        for number in numbers:
            end = self.parameters[number].end
            cast = _CAST.match(parsed, end)
            if cast is None:
                _refuse("a parameter for a sealed column is cast: give it as it is")
            parsed = parsed[:end] + " " * len(cast.group()) + parsed[cast.end() :]
        return self if parsed == self.parsed else replace(self, parsed=parsed, is_changed=True)

    def number(self, name: str) -> int:
        """Return which parameter a name in the parsed text stands for."""
        return int(name.removeprefix(MARK))

    def written(self, start: int, end: int, edits: Sequence[Edit] = ()) -> tuple[str, list[Key]]:
        """Return a part of the text as the driver takes it, and the keys of its parameters in their order.

        Args:
            start: where the part begins in the parsed text.
            end: where it ends.
            edits: what to put in the place of parts of it.
        """
        found: list[tuple[int, int, Sequence[str | Key] | Parameter]] = [
            one for one in edits if start <= one[0] <= end
        ]
        replaced = [(begin, finish) for begin, finish, _ in found]
        found += [
            (one.start, one.end, one)
            for one in self.parameters
            if start <= one.start < end and not any(a <= one.start < b for a, b in replaced)
        ]
        pieces: list[str | Parameter] = []
        keys: list[Key] = []
        at = start
        for begin, finish, part in sorted(found, key=lambda one: one[0]):
            pieces.append(self._plain(self.parsed[at:begin]))
            at = finish
            if isinstance(part, Parameter):
                pieces.append(part)
                keys.append(part.key)
                continue
            given = iter(part)
            for one in given:
                if one == -1:
                    keys.append(next(given))
                    pieces.append(Parameter(keys[-1], begin, begin))
                else:
                    pieces.append(self._plain(str(one)))
        pieces.append(self._plain(self.parsed[at:end]))
        # Numbers without gaps, in the order of the values.
        numbers = {key: i + 1 for i, key in enumerate(sorted({key for key in keys if isinstance(key, int)}))}
        written = (one if isinstance(one, str) else self._placeholder(one.key, numbers) for one in pieces)
        return "".join(written), keys

    def _plain(self, text: str) -> str:
        return text.replace("%", "%%") if self.style == "percent" else text

    def _placeholder(self, key: Key, numbers: dict[int, int]) -> str:
        if self.style == "question":
            return "?" if isinstance(key, int) else f":{key}"
        if self.style == "percent":
            return "%s" if isinstance(key, int) else f"%({key})s"
        return f"${numbers[int(key)]}"


def read_text(statement: str, lexis: Lexis, style: str) -> SqlText:
    """Return a statement as it is parsed.

    Args:
        statement: the text that the driver would be given.
        lexis: how the database reads it.
        style: how its driver writes parameters: ``question``, ``percent`` or ``dollar``.

    Raises:
        UnsupportedOperation: it holds what may be read in more than one way, or several statements.
    """
    parsed: list[str] = []
    bare: list[str] = []
    names: list[str] = []
    parameters: list[Parameter] = []
    length, number = 0, 0

    def add(text: str, shown: str) -> None:
        nonlocal length
        parsed.append(text)
        bare.append(shown)
        length += len(text)

    for found in _pattern(lexis, style).finditer(statement):
        text, what = found.group(), found.lastgroup
        if what in ("name", "number"):
            what = "parameter"
        if what == "comment":
            _check_comment(text, lexis, style)
            add(" " * len(text), " " * len(text))
        elif what == "quoted":
            _check_quoted(text, style)
            if not text.startswith("'"):
                names.append(text[1:-1])
            # A percent sign is written twice where the driver looks for parameters.
            add(text.replace("%%", "%") if style == "percent" else text, "")
            bare[-1] = parsed[-1][0] + "~" * (len(parsed[-1]) - 2) + parsed[-1][-1]
        elif what == "parameter":
            key = _key(found.groupdict(), number)
            number += isinstance(key, int)
            mark = f":{MARK}{len(parameters)}"
            parameters.append(Parameter(key, length, length + len(mark)))
            add(mark, "?" * len(mark))
        elif what == "percents":
            add("%", "%")
        elif what in ("odd", "strange"):
            _refuse(f"it holds {text.strip()!r}")
        else:
            add(text, text)
    whole = "".join(bare)
    if ";" in whole.rstrip().rstrip(";"):
        _refuse("it holds several statements")
    if len({type(one.key) for one in parameters}) > 1:
        _refuse("it has parameters with and without names")
    return SqlText("".join(parsed), whole, tuple(names), tuple(parameters), style)


@cache
def _pattern(lexis: Lexis, style: str) -> re.Pattern[str]:
    percents = "(?P<percents>%%)|" if style == "percent" else ""
    stray = r"(?P<strange>['\"`]|/\*" + ("|%" if style == "percent" else "") + ")"
    return re.compile(
        f"(?P<comment>{lexis.comments})|(?P<odd>{lexis.not_followed})|(?P<quoted>{lexis.quoted})|"
        f"{percents}(?P<parameter>{_PARAMETERS[style]})|{stray}|(?P<other>.)",
        re.DOTALL,
    )


def _key(groups: dict[str, str | None], number: int) -> Key:
    if groups.get("name"):
        return str(groups["name"])
    return int(groups["number"] or 0) - 1 if groups.get("number") else number


def _check_comment(text: str, lexis: Lexis, style: str) -> None:
    nested = "/*" in text[2:] and text.startswith("/*")
    if nested or text.startswith(("/*!", "/*M!", "/*+")) or (style == "percent" and "%" in text):
        _refuse("it has a comment that a database could execute, or a driver could change")
    if lexis.has_spaced_hyphens and text.startswith("--") and not text[2:3].isspace():
        _refuse("it has two hyphens with no space behind them")


def _check_quoted(text: str, style: str) -> None:
    if "\\" in text:
        _refuse("it has a backslash in quotes: give the text as a parameter")
    if style == "percent" and "%" in text.replace("%%", ""):
        _refuse("it has a percent sign in quotes: give the text as a parameter, or write %%")


def _refuse(reason: str) -> NoReturn:
    raise UnsupportedOperation(
        f"the SQL text names a table with sealed columns, and cannot be read for certain: {reason}"
    )
