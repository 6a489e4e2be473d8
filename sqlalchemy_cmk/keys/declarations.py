"""What is checked in a ``MetaData`` before a keyring serves its columns.

The packages above register their checks in :data:`checks`, and what knows the types of sealed columns in
:data:`restorers`; the keys know nothing of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData, Table

from sqlalchemy_cmk.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class DeclaredIndex:
    """A search index of a table.

    Attributes:
        identity: the table's schema (empty for the connection's own) and name, the names of the sealed column
            and of the index.
        where: ``table.hidden column``, for messages.
        is_tenants: whether its tokens are under DEKs of the tenants, not of the platform.
    """

    identity: tuple[str, str, str, str]
    where: str
    is_tenants: bool


# Each returns what is wrong with a metadata's tables, by table, and what to do about it.
checks: list[Callable[[MetaData], Mapping[Table, Sequence[str]]]] = []

# Each gives the tables of a metadata, which were read from the database, the types that are noted there.
restorers: list[Callable[[Any, MetaData], None]] = []

# Each returns the search indexes that the tables of a metadata declare.
declared_indexes: list[Callable[[MetaData], Iterable[DeclaredIndex]]] = []

_PASSED = "sqlalchemy_cmk.declarations_passed"


def refuse_wrong_declarations(metadata: MetaData, table: Table | None = None) -> None:
    """Check what a metadata's tables declare, once until it changes.

    Args:
        metadata: the metadata.
        table: the one table that is about to be used; ``None`` for all of them.

    Raises:
        ConfigurationError: something is declared wrongly. All of it is listed, one sentence a line.
    """
    if _PASSED in metadata.info:
        return
    wrong = [found for check in checks if (found := check(metadata))]
    if not wrong:
        metadata.info[_PASSED] = True
        return
    tables = dict.fromkeys(one for found in wrong for one in found if table is None or one is table)
    messages = [message for one in tables for found in wrong for message in found.get(one, ())]
    if messages:
        raise ConfigurationError("\n".join(messages))


def check_again(metadata: MetaData) -> None:
    """Have a metadata checked before its next use: something was declared."""
    metadata.info.pop(_PASSED, None)
