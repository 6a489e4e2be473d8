"""A table beside the table: a row for each token of each row, with the row's primary key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from sqlalchemy_cmk.databases.grams.base import GramNames, keys_of
from sqlalchemy_cmk.errors import ConfigurationError

GRAM = "gram"


def having_all(names: GramNames, hidden: Any, grams: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that a row has each of some tokens, by joins: the database begins with the rarest.

    Args:
        names: the hidden column.
        hidden: the hidden column, of the FROM that is asked about.
        grams: what each of the tokens is, in SQL.
    """
    side = names.made(GRAM, *names.keys)
    ways = [side.alias() for _ in grams]
    first = ways[0]
    asked = select(*(first.c[key] for key in names.keys)).where(first.c[GRAM] == grams[0])
    for way, gram in zip(ways[1:], grams[1:], strict=True):
        same = and_(*(way.c[key] == first.c[key] for key in names.keys))
        asked = asked.join(way, and_(way.c[GRAM] == gram, same))
    asked = asked.select_from(first)
    keys = keys_of(names, hidden)
    return keys[0].in_(asked) if len(keys) == 1 else tuple_(*keys).in_(asked)


def require_key(names: GramNames) -> None:
    """Refuse a table whose rows have nothing that identifies them.

    Raises:
        ConfigurationError: it has no primary key, or one with a name that the side table needs.
    """
    if not names.keys:
        raise ConfigurationError(
            f"{names.table.fullname}.{names.column}: an index NGram finds rows by their primary key here, "
            "and the table has none: declare one"
        )
    if GRAM in names.keys:
        raise ConfigurationError(
            f"{names.table.fullname}.{names.column}: an index NGram needs the name {GRAM!r} beside those "
            "of the primary key: rename that column"
        )
