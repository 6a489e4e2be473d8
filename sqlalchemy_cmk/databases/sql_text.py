"""How databases read SQL text, and how SQLAlchemy calls the drivers of connections. See :class:`Lexis`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Dialect

from sqlalchemy_cmk.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Lexis:
    """What a database takes for strings, names and comments, as regular expressions.

    Attributes:
        quoted: strings and names in quotes.
        comments: comments.
        not_followed: ways to write a parameter, a string or a name that are refused.
        has_spaced_hyphens: whether two hyphens begin a comment only with a space behind them.
        sqlglot: the name of its dialect in sqlglot.
    """

    quoted: str
    comments: str
    not_followed: str
    has_spaced_hyphens: bool
    sqlglot: str


_LEXES = {
    "sqlite": Lexis(
        quoted=r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]",
        comments=r"--[^\n]*|/\*.*?\*/",
        not_followed=r"\?\d|[@$]\w|::",
        has_spaced_hyphens=False,
        sqlglot="sqlite",
    ),
    "postgresql": Lexis(
        quoted=r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"",
        comments=r"--[^\n]*|/\*.*?\*/",
        not_followed=r"\$\w*\$|\b[Uu]&['\"]|\x00",
        has_spaced_hyphens=False,
        sqlglot="postgres",
    ),
    "mysql": Lexis(
        quoted=r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`",
        comments=r"--[^\n]*|\#[^\n]*|/\*.*?\*/",
        not_followed=r"@\w+\s*:=|\x00",
        has_spaced_hyphens=True,
        sqlglot="mysql",
    ),
}
_LEXES["mariadb"] = _LEXES["mysql"]

# The modules of drivers, and how SQLAlchemy calls them.
DRIVERS: Mapping[str, str] = MappingProxyType(
    {"sqlite3": "sqlite+pysqlite", "psycopg": "postgresql+psycopg", "pymysql": "mysql+pymysql"}
)
ASYNC_DRIVERS: Mapping[str, str] = MappingProxyType(
    {"asyncpg": "postgresql+asyncpg", "aiosqlite": "sqlite+aiosqlite"}
)
# What an engine over a connection that is there is made with: it may not look anything up at once.
OPTIONS: Mapping[str, dict[str, Any]] = MappingProxyType({"postgresql+psycopg": {"use_native_hstore": False}})


def lexis_of(dialect: Dialect) -> Lexis:
    """Return how a database reads SQL text.

    Raises:
        ConfigurationError: it is none of those that are known.
    """
    return lexis_named(dialect.name)


def lexis_named(dialect: str) -> Lexis:
    """Return how the database of a dialect reads SQL text, by the dialect's name; see :func:`lexis_of`."""
    found = _LEXES.get(dialect)
    if found is None:
        raise ConfigurationError(
            f"SQL text for {dialect} cannot be read: use sessions and SQLAlchemy's expressions, whose values "
            "are sealed for any database that is supported"
        )
    return found
