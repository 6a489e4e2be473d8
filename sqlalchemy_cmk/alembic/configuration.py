"""What ``context.configure`` gives a migration: the keyring and the models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, Table

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.binding.protection import keyrings_of
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.keys.storage.tables import KeyTables, tables_of_keyrings

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

DEFAULT_PREFIX = "cmk_"


def keyring_of(context: MigrationContext) -> Keyring:
    """Return the keyring of a migration, for the database that it runs on.

    That is ``context.configure(keyring=...)``, or what protects ``target_metadata``.

    Raises:
        ConfigurationError: there is none, or it serves another database.
    """
    found = _keyrings(context)
    if not found:
        raise ConfigurationError(
            "this migration needs the keyring: env.py says context.configure(..., keyring=keyring)"
        )
    connection = None if context.as_sql else context.connection
    if connection is None:
        return found[0]
    serving = (one for one in found if one.engines.of_connection(connection) is not None)
    return next(serving, found[0]).for_connection(connection)


def key_tables(context: MigrationContext) -> KeyTables:
    """Return the key tables, by their usual names where no keyring has others."""
    return tables_of_keyrings(prefix_of(context))[1]


def every_key_table(context: MigrationContext, prefix: str) -> list[Table]:
    """Return all tables of the library in the order in which they are made.

    They are those of ``target_metadata`` where it has them, whose naming convention then applies.
    """
    own, _ = tables_of_keyrings(prefix)
    theirs = (one for one in metadatas(context) if own.tables.keys() <= one.tables.keys())
    found = next(theirs, own)
    return [found.tables[table.key] for table in own.sorted_tables]


def registry_table(context: MigrationContext) -> Table:
    """Return the table of sealed columns, by its usual name where no keyring gives another prefix."""
    prefix = prefix_of(context)
    return tables_of_keyrings(prefix)[0].tables[f"{prefix}columns"]


def conversions_table(context: MigrationContext) -> Table:
    """Return the table of conversions under way, by its usual name where no keyring gives another prefix."""
    prefix = prefix_of(context)
    return tables_of_keyrings(prefix)[0].tables[f"{prefix}conversions"]


def indexes_table(context: MigrationContext) -> Table:
    """Return the table of search indexes, by its usual name where no keyring gives another prefix."""
    prefix = prefix_of(context)
    return tables_of_keyrings(prefix)[0].tables[f"{prefix}indexes"]


def forget_indexes(context: MigrationContext) -> None:
    """Have the keyrings look again whether there is a table of search indexes."""
    for keyring in _keyrings(context):
        for keys in keyring.engines.all():
            keys.indexes.start_anew()


def metadatas(context: MigrationContext) -> list[MetaData]:
    """Return what ``target_metadata`` names."""
    target: Any = context.opts.get("target_metadata")
    if target is None:
        return []
    return list(target) if isinstance(target, Iterable) and not isinstance(target, MetaData) else [target]


def model_table(context: MigrationContext, schema: str | None, name: str) -> Table | None:
    """Return a table as the models have it now, if they do."""
    tables = (one for metadata in metadatas(context) for one in metadata.tables.values())
    return next((one for one in tables if (one.schema, one.name) == (schema, name)), None)


def prefix_of(context: MigrationContext) -> str:
    """Return the prefix of the key tables' names."""
    found = _keyrings(context)
    return found[0].table_prefix if found else DEFAULT_PREFIX


def _keyrings(context: MigrationContext) -> list[Keyring]:
    given = context.opts.get("keyring")
    if given is None:
        return [one for metadata in metadatas(context) for one in keyrings_of(metadata)]
    if not isinstance(given, Keyring):
        raise ConfigurationError(
            f"context.configure(keyring=...) takes a Keyring, not a {type(given).__name__}"
        )
    return [given]
