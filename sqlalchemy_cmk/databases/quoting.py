"""Names in statements that are written as text, and these statements as SQLAlchemy takes them.

A name may hold anything: a percent sign, which drivers read as a parameter; a colon, which ``text()`` reads
as one; quotes, dots, backticks, 63 characters.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import Any

from sqlalchemy import ClauseElement, Dialect, TextClause, text
from sqlalchemy.types import TypeEngine

# PostgreSQL's limit, in bytes. MariaDB's is 64 characters, SQLite has none.
MAX_NAME_BYTES = 63
_HASH_DIGITS = 16


class Quoting:
    """Quotes names for :func:`verbatim`.

    Args:
        dialect: the database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._preparer = dialect.identifier_preparer

    @property
    def doubles_percents(self) -> bool:
        """Whether SQLAlchemy writes each percent sign twice, as the driver takes it beside parameters."""
        return "%%" in self._preparer.quote("%")

    def name(self, name: str) -> str:
        """Return a name, quoted where it has to be."""
        # SQLAlchemy 2.0 looks at the first character to see whether it has to be.
        return self._single(self._preparer.quote(name) if name else self._preparer.quote_identifier(name))

    def table(self, table: str, schema: str | None = None) -> str:
        """Return a table's name with its schema."""
        return f"{self.name(schema)}.{self.name(table)}" if schema else self.name(table)

    def compiled(self, element: ClauseElement | TypeEngine[Any]) -> str:
        """Return the text of a type, or of an element without parameters."""
        return self._single(str(element.compile(dialect=self._dialect)))

    def _single(self, written: str) -> str:
        return written.replace("%%", "%") if self.doubles_percents else written


def verbatim(statement: str) -> TextClause:
    """Return a statement that reaches the database as it is written: no colon or percent is a parameter."""
    # SQLAlchemy doubles the percent signs of a text where its driver takes them for parameters.
    return text(statement.replace(":", r"\:"))


def dollar_quoted(body: str) -> str:
    """Return the body of a function as a string of PostgreSQL, whatever the names in it."""
    tag = "cmk"
    while f"${tag}$" in body:
        tag += "_"
    return f"${tag}${body}${tag}$"


def fitting(name: str, suffix: str) -> str:
    """Return a name with a suffix; where that is too long, its end gives way to a hash of it."""
    if len((name + suffix).encode()) <= MAX_NAME_BYTES:
        return name + suffix
    end = f"_{sha256(name.encode()).hexdigest()[:_HASH_DIGITS]}{suffix}"
    return name.encode()[: MAX_NAME_BYTES - len(end)].decode(errors="ignore") + end


def unused(name: str, names: Collection[str]) -> str:
    """Return a name that is none of some names, and with which none of them begins."""
    while any(one.lower().startswith(name) for one in names):
        name += "_"
    return name
