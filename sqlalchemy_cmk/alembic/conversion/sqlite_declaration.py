"""A column's declared type in the text of SQLite's CREATE TABLE: replaced, and kept beside what replaces it.

What a column was declared as stands in a comment behind the new type, and comes back letter by letter::

    ssn varchar(11) NOT NULL
    ssn BLOB /* cmk: varchar(11) */ NOT NULL
"""

from __future__ import annotations

import re

from sqlalchemy_cmk.alembic.conversion.catalogue.words import Text, Word

_CONSTRAINTS = (
    *("CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE"),
    *("REFERENCES", "GENERATED", "AS"),
)
_KEPT = re.compile(r"\s+\w+ /\* cmk: ?(?P<before>.*?) ?\*/", re.DOTALL)


def declared_sealed(sql: str, column: str, made: str) -> str:
    """Return the text of a CREATE TABLE with a column of sealed values; the type that it had is kept.

    Args:
        sql: the text.
        column: the column's name.
        made: the type of sealed values.

    Raises:
        LookupError: there is no such column.
    """
    start, end = _place(sql, column)
    before = sql[start:end].strip()
    if _KEPT.match(sql, start) or _meaning(before) == _meaning(made) or "*/" in before:
        return sql
    return _replaced(sql, start, end, f"{made} /* cmk: {before} */")


def declared_plain(sql: str, column: str, made: str) -> str:
    """Return the text of a CREATE TABLE with a column of plain values, as it was declared where that is kept.

    Args:
        sql: the text.
        column: the column's name.
        made: the type of plain values; it is taken where no other is kept.

    Raises:
        LookupError: there is no such column.
    """
    start, end = _place(sql, column)
    kept = _KEPT.match(sql, start)
    if kept is not None:
        return _replaced(sql, start, kept.end(), kept["before"])
    return sql if _meaning(sql[start:end]) == _meaning(made) else _replaced(sql, start, end, made)


def _replaced(sql: str, start: int, end: int, type_: str) -> str:
    after = sql[end:]
    return sql[:start] + (f" {type_}" if type_ else "") + (" " if after[:1].isalnum() else "") + after


def _place(sql: str, column: str) -> tuple[int, int]:
    """Return where a column's type begins, behind its name, and where it ends."""
    words = Text(sql).words
    depth, first = 0, False
    for i, word in enumerate(words):
        if first and depth == 1 and (word.names(column) or _is_in_quotes(word, column)):
            return word.end, _end_of_type(words[i:])
        depth += word.says("(") - word.says(")")
        first = depth == 1 and (word.says("(") or word.says(","))
    raise LookupError(column)


def _is_in_quotes(word: Word, column: str) -> bool:
    """Return whether a column's name stands in the quotes of a string, which SQLite takes, too."""
    return word.is_string and word.text[1:-1].replace("''", "'").casefold() == column.casefold()


def _end_of_type(words: tuple[Word, ...]) -> int:
    """Return where the type ends of the column whose name comes first."""
    depth, end = 0, words[0].end
    for word in words[1:]:
        ends = word.says(",") or word.says(")") or any(map(word.says, _CONSTRAINTS))
        if depth == 0 and ends:
            break
        depth += word.says("(") - word.says(")")
        end = word.end
    return end


def _meaning(type_: str) -> str:
    return "".join(type_.split()).upper()
