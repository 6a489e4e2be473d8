"""SQL text that names columns, parsed by ``sqlglot``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sqlalchemy_cmk.check.subjects import Subject
from sqlalchemy_cmk.errors import ConfigurationError

# Parameters as drivers write them, which no dialect of SQL knows.
_DRIVERS_OWN = re.compile(r"%s|%\(\w+\)s")
_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b", re.IGNORECASE)


def is_statement(text: str) -> bool:
    """Return whether a text begins as a SQL statement."""
    return _STATEMENT.match(text) is not None


def named_in(text: str, subjects: Iterable[Subject]) -> Iterator[Subject]:
    """Yield the columns that SQL text names, be it a statement or a part of one.

    A statement has to name the column's table too. ``SELECT *`` names all columns of its tables.

    Raises:
        ConfigurationError: ``sqlglot`` is not installed.
    """
    try:
        import sqlglot
        from sqlglot import expressions
        from sqlglot.errors import SqlglotError
    except ModuleNotFoundError:
        raise ConfigurationError(
            "to read SQL text, cmk check needs sqlglot: run pip install 'sqlalchemy-cmk[cli]'"
        ) from None
    try:
        parsed = [one for one in sqlglot.parse(_DRIVERS_OWN.sub("?", text)) if one is not None]
    except SqlglotError:
        return
    tables = {table.name.lower() for one in parsed for table in one.find_all(expressions.Table)}
    columns = {column.name.lower() for one in parsed for column in one.find_all(expressions.Column)}
    for one in parsed:
        for schema in one.find_all(expressions.Schema):  # the columns that an INSERT lists
            columns |= {name.name.lower() for name in schema.expressions}
    stars = any(
        isinstance(star.parent, expressions.Select | expressions.Column)
        for one in parsed
        for star in one.find_all(expressions.Star)
    )
    for subject in subjects:
        in_table = subject.table.name.lower() in tables or not (tables or is_statement(text))
        named = subject.sealed.column.name.lower() in columns
        if in_table and (named or (stars and bool(tables))):
            yield subject
