"""Checks of search indexes: whether they answer, miss rows, or give away what is in them.

A bounded part of each table is read. No value is opened, and no token is shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, column, null, select, table, type_coerce
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import NullType

from sqlalchemy_cmk.columns.compounds import CompoundIndex, every_index
from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.columns.token_columns import TokenIndex
from sqlalchemy_cmk.databases.errors import complaint
from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex
from sqlalchemy_cmk.scope import PLATFORM_TENANT

SAMPLE = 2000
# Of a tenant's rows: with fewer, nothing is said about how many values there are.
ENOUGH_ROWS = 100
FEW_VALUES = 20
# Bits of tokens that are cut so that different values share them.
_CUT = 64

_UNFINISHED = {
    IndexState.BUILDING: "is being built, and answers no question",
    IndexState.FILLING: "is being built, and answers no question",
    IndexState.LEAVING: "is written, and its index has newer tokens",
    IndexState.CLOSING: "is being dropped",
}


class IndexChecks:
    """Looks at every search index of the protected tables.

    Args:
        keyring: the keyring that protects them.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def findings(self) -> Iterator[Finding]:
        """Return the findings about every index that is declared or recorded."""
        stored = self._keyring.indexes.stored()
        declared = list(self._declared())
        for one in stored:
            yield from _state(one, declared)
        for index in declared:
            yield from self._index(index, [one for one in stored if one.of_table == _place(index)])

    def without_tokens(self) -> dict[str, int]:
        """Return how many rows have a value and no token, by ``table.hidden column``.

        Of each index that is declared and answers questions; counting ends at :data:`SAMPLE`. The database
        finds these rows by its own index of the hidden column; for n-grams it reads the table.
        """
        stored, counts = self._keyring.indexes.stored(), dict[str, int]()
        for index in self._declared():
            hidden = _asked(index, [one for one in stored if one.of_table == _place(index)])
            if hidden is not None:
                counts[f"{index.sealed.table.fullname}.{hidden}"] = self._without_token(index, hidden)
        return counts

    def _without_token(self, index: TokenIndex, hidden: str) -> int:
        owners = self._keyring.connections.run(lambda connection: _missing(connection, index, hidden))
        gone = self._keyring.store.shredded([one for one in owners if one != PLATFORM_TENANT])
        return sum(count for owner, count in owners.items() if owner not in gone)

    def _declared(self) -> Iterator[TokenIndex]:
        for metadata in self._keyring.protected:
            for model in metadata.sorted_tables:
                if sealed_columns(model):
                    yield from every_index(model)

    def _index(self, index: TokenIndex, stored: Sequence[StoredIndex]) -> Iterator[Finding]:
        hidden = _asked(index, stored)
        if hidden is None:
            return
        try:
            left = self._without_token(index, hidden)
            tokens = self._keyring.connections.run(lambda connection: _sample(connection, index, hidden))
        except (CmkError, OSError, SQLAlchemyError) as error:
            remedy = "run the migration that makes the index, and grant the account SELECT on the table"
            yield Finding(Level.PROBLEM, index.where, f"cannot be read: {complaint(error)}", remedy)
            return
        if left:
            found = f"{left} or more rows have a value and no token, and are not found"
            yield Finding(
                Level.PROBLEM,
                index.where,
                found,
                "find out who writes the table without the library; then make the tokens again: cmk rekey "
                "indexes --rotate",
            )
        yield from _few_values(index, tokens)


def _asked(index: TokenIndex, stored: Sequence[StoredIndex]) -> str | None:
    """Return the hidden column of an index that answers questions; ``None`` if none does."""
    slots = [one for one in stored if one.hidden in index.keys]
    ready = next((one.hidden for one in slots if one.state is IndexState.READY), None)
    return ready if slots else index.key


def _state(one: StoredIndex, declared: Sequence[TokenIndex]) -> Iterator[Finding]:
    ours = [index for index in declared if _place(index) == one.of_table and one.hidden in index.keys]
    if any(one.state.is_written and index.fingerprint != one.fingerprint for index in ours):
        yield Finding(
            Level.PROBLEM,
            one.where,
            "its tokens were made with other options than the model's: reads and writes are refused",
            "run the migration that alembic revision --autogenerate writes",
        )
    elif one.state in _UNFINISHED:
        yield Finding(
            Level.WARNING,
            one.where,
            f"{_UNFINISHED[one.state]}, since {one.since.isoformat(timespec='minutes')}",
            "run the migration again, or cmk rekey indexes with --build or --rotate",
        )
    elif not ours and one.state.is_written:
        yield Finding(
            Level.WARNING,
            one.where,
            "no model of this keyring declares the index: it refuses to write the column",
            "protect the models that do, or drop it with op.drop_sealed_index",
        )


def _place(index: TokenIndex) -> tuple[str, str]:
    return index.sealed.table.schema or "", index.sealed.table.name


def _parts(index: TokenIndex, hidden: str) -> tuple[Any, Any, Any, Any]:
    """Return a table, and in it the value, the token, and whose row it is, NULL where another table says."""
    model: Table = index.sealed.table
    source = tenant_source(model) if index.sealed.is_tenants else None
    names = [str(index.sealed.column.name), hidden]
    found = table(model.name, *map(column, names), schema=model.schema)
    value, token = (type_coerce(found.c[name], NullType()) for name in names)
    owner: Any = null()
    if source is not None and source.rows is source.table:
        owner = column(str(source.column.name), source.column.type)
    return found, value, token, owner


def _missing(connection: Connection, index: TokenIndex, hidden: str) -> Counter[str]:
    """Return whose rows have a value and no token, of the first that are found."""
    found, value, token, owner = _parts(index, hidden)
    values = [value.is_not(None)]
    if isinstance(index, CompoundIndex):
        values = [column(str(one.column.name)).is_not(None) for one in index.columns]
    query = select(owner).select_from(found).where(*values, token.is_(None)).limit(SAMPLE)
    return Counter(_owner(index, one) for (one,) in connection.execute(query))


def _sample(connection: Connection, index: TokenIndex, hidden: str) -> dict[str, list[Any]]:
    """Return some tokens of each tenant."""
    if index.index.stores_grams or getattr(index.index, "bits", _CUT) < _CUT:
        return {}
    found, _, token, owner = _parts(index, hidden)
    query = select(owner, token).select_from(found).where(token.is_not(None)).limit(SAMPLE)
    tokens = defaultdict(list)
    for whose, one in connection.execute(query):
        tokens[_owner(index, whose)].append(bytes(one))
    return tokens


def _owner(index: TokenIndex, value: Any) -> str:
    source = tenant_source(index.sealed.table) if index.sealed.is_tenants else None
    if value is None or source is None:
        return PLATFORM_TENANT
    return index.owner(source.name(value))


def _few_values(index: TokenIndex, tokens: dict[str, list[Any]]) -> Iterator[Finding]:
    most = max(tokens.values(), key=len, default=[])
    distinct = len(set(most))
    if len(most) >= ENOUGH_ROWS and distinct <= FEW_VALUES:
        yield Finding(
            Level.WARNING,
            index.where,
            f"few values: {distinct} in {len(most)} rows: who knows how frequent each is knows them all from "
            "a stolen table",
            "drop the index and search in Python, unless a reader of the table may know them",
        )
