"""What ``context.configure`` gives a migration: the keyring and the models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, Table

from sqlalchemy_cmk.alembic.registry.table import make_conversions_table, make_registry_table
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.binding.protection import keyrings_of
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.keys.storage.tables import KeyTables, make_key_tables

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
    return make_key_tables(MetaData(), _prefix(context))


def registry_table(context: MigrationContext) -> Table:
    """Return the table of sealed columns, by its usual name where no keyring gives another prefix."""
    return make_registry_table(MetaData(), _prefix(context))


def conversions_table(context: MigrationContext) -> Table:
    """Return the table of conversions under way, by its usual name where no keyring gives another prefix."""
    return make_conversions_table(MetaData(), _prefix(context))


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


def _prefix(context: MigrationContext) -> str:
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
