"""SQL text that names sealed columns, parsed by ``sqlglot``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.databases import DATABASES
from sqlalchemy_cmk.errors import ConfigurationError

# Parameters as drivers write them, which no dialect of SQL knows.
_DRIVERS_OWN = re.compile(r"%s|%\(\w+\)s")
_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Names:
    """What SQL text names, in lower case.

    Attributes:
        tables: tables that it reads or writes.
        used: columns that it compares, computes with or writes.
        shown: columns that a SELECT returns as they are; ``*`` for all.
    """

    tables: frozenset[str]
    used: frozenset[str]
    shown: frozenset[str]


def is_statement(text: str) -> bool:
    """Return whether a text begins as a SQL statement."""
    return _STATEMENT.match(text) is not None


def named_in(
    text: str, columns: Iterable[SealedColumn], opened: Collection[str] = ()
) -> Iterator[SealedColumn]:
    """Yield the columns that SQL text names, be it a statement or a part of one.

    A statement has to name the column's table too. ``SELECT *`` names all columns of its tables.

    Args:
        text: the SQL.
        columns: those that may be named.
        opened: names of columns whose values are opened where a SELECT returns them, as
            ``text(...).columns(Model.column)`` has them.

    Raises:
        ConfigurationError: ``sqlglot`` is not installed.
    """
    names = _names(text)
    shown = names.shown - {one.lower() for one in opened}
    for one in columns:
        name, table = one.column.name.lower(), one.table.name.lower()
        in_table = table in names.tables or not (names.tables or is_statement(text))
        read = name in shown or ("*" in shown and bool(names.tables) and one.column.name not in opened)
        if in_table and (name in names.used or read):
            yield one


def what_becomes_of_it(column: SealedColumn) -> str:
    """Return what SQL text that names a column does once that is sealed, and what to do."""
    return (
        f"SQL text names {column.where}: it reads, compares and writes the stored bytes, which would be "
        "sealed: use the model, or to read text(...).columns(Model.column)"
    )


@lru_cache(maxsize=1000)
def _names(text: str) -> _Names:
    """Return what a text names: nothing where it is no SQL that can be read."""
    try:
        import sqlglot
        from sqlglot import expressions
        from sqlglot.errors import SqlglotError
    except ModuleNotFoundError:
        raise ConfigurationError(
            "SQL text is read by sqlglot, which is not here: run pip install 'sqlalchemy-cmk[sql]'"
        ) from None
    parsed: list[Any] = []
    for dialect in sorted({one.parsed_as for one in DATABASES}):
        try:
            parsed = [
                one for one in sqlglot.parse(_DRIVERS_OWN.sub("NULL", text), dialect) if one is not None
            ]
            break
        except SqlglotError:
            continue

    def all_of(kind: type[Any]) -> list[Any]:
        return [found for one in parsed for found in one.find_all(kind)]

    def is_shown(column: Any) -> bool:
        parent = column.parent.parent if isinstance(column.parent, expressions.Alias) else column.parent
        return isinstance(parent, expressions.Select) and parent.parent is None

    columns = all_of(expressions.Column)
    shown = {one.name.lower() for one in columns if is_shown(one)}
    used = {one.name.lower() for one in columns if not is_shown(one)}
    for schema in all_of(expressions.Schema):  # the columns that an INSERT lists
        used |= {name.name.lower() for name in schema.expressions}
    stars = (expressions.Select, expressions.Column)
    if any(isinstance(star.parent, stars) for star in all_of(expressions.Star)):
        shown.add("*")
    tables = {table.name.lower() for table in all_of(expressions.Table)}
    return _Names(frozenset(tables), frozenset(used), frozenset(shown))
