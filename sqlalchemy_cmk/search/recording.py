"""Records the indexes of tables that ``create_all`` makes: with which options their tokens are made.

A process whose model declares other options is then refused, where it would miss rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, inspect

from sqlalchemy_cmk.columns.compounds import every_index
from sqlalchemy_cmk.columns.index_catalogues import catalogue_on
from sqlalchemy_cmk.columns.token_columns import TokenIndex, indexed_metadatas
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex, purpose_of_new
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.runtime.clock import this_second
from sqlalchemy_cmk.search.definitions import definition_of

# Its tokens may be under any DEK of the first purpose that there ever was: a process may have taken one for
# the active one, and tables that were there before the key tables are recorded as well.
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def record_indexes(table: Table, connection: Any, **_: Any) -> None:
    """Record the indexes of a table that was made just now, if a keyring serves it.

    Where the table of indexes is made just now, those of the tables that are there: without key tables nobody
    can have written a token.
    """
    if table.metadata not in indexed_metadatas or not isinstance(connection, Connection):
        return
    if private.is_temporary(table):
        return  # it goes without being dropped
    catalogue = catalogue_on(connection, table.metadata)
    if catalogue is None:
        return
    is_catalogue = table.name == catalogue.table.name
    made = list(_there(table, connection)) if is_catalogue else [table] if every_index(table) else []
    if made and (is_catalogue or inspect(connection).has_table(catalogue.table.name)):
        if not is_catalogue:
            catalogue.erase_all(connection, table.schema, table.name)
        found = (one for each in made for one in every_index(each))
        purpose = Purpose.SEARCH if is_catalogue else purpose_of_new(catalogue.read(connection))
        catalogue.record(connection, [_stored(one, purpose) for one in found])


def erase_indexes(table: Table, connection: Any, **_: Any) -> None:
    """Record the indexes of a table no more that was dropped just now."""
    if not isinstance(connection, Connection) or not every_index(table):
        return
    catalogue = catalogue_on(connection, table.metadata)
    if catalogue is not None and inspect(connection).has_table(catalogue.table.name):
        catalogue.erase_all(connection, table.schema, table.name)


def _there(catalogue: Table, connection: Connection) -> Iterator[Table]:
    translated: Any = connection.get_execution_options().get("schema_translate_map") or {}
    for one in catalogue.metadata.tables.values():
        schema = translated.get(one.schema, one.schema)
        if (
            every_index(one)
            and not private.is_temporary(one)
            and inspect(connection).has_table(one.name, schema=schema)
        ):
            yield one


def _stored(one: TokenIndex, purpose: Purpose) -> StoredIndex:
    table = one.sealed.table
    try:
        definition = definition_of(one.index)
    except (ConfigurationError, TypeError):  # of a kind that the application has made
        definition = "{}"
    now = this_second()
    return StoredIndex(
        table.schema or "",
        table.name,
        one.key,
        str(one.sealed.column.name),
        one.index.suffix,
        0,
        IndexState.READY,
        purpose,
        one.fingerprint,
        definition,
        _ALWAYS if purpose is Purpose.SEARCH else now,
        now,
    )
