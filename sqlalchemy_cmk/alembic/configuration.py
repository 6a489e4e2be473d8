"""What ``context.configure`` gives a migration: the keyring and the models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, Table

from sqlalchemy_cmk.alembic.registry.table import make_conversions_table, make_registry_table
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.keyring import INFO_KEY, Keyring
from sqlalchemy_cmk.keys.storage.tables import KeyTables, make_key_tables

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

DEFAULT_PREFIX = "cmk_"


def keyring_of(context: MigrationContext) -> Keyring:
    """Return the keyring of a migration: ``context.configure(keyring=...)``, or that of ``target_metadata``.

    Raises:
        ConfigurationError: there is none.
    """
    keyring = _known(context)
    if keyring is None:
        raise ConfigurationError(
            "this migration needs the keyring: env.py says context.configure(..., keyring=keyring)"
        )
    return keyring


def key_tables(context: MigrationContext) -> KeyTables:
    """Return the key tables, by their usual names where no keyring has others."""
    keyring = _known(context)
    return keyring.database.tables if keyring is not None else make_key_tables(MetaData(), DEFAULT_PREFIX)


def registry_table(context: MigrationContext) -> Table:
    """Return the table of sealed columns, by its usual name where no keyring gives another prefix."""
    return _own_table(context, make_registry_table)


def conversions_table(context: MigrationContext) -> Table:
    """Return the table of conversions under way, by its usual name where no keyring gives another prefix."""
    return _own_table(context, make_conversions_table)


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


def _own_table(context: MigrationContext, build: Callable[[MetaData, str], Table]) -> Table:
    keyring = _known(context)
    if keyring is not None:
        return keyring.database.tables_of(build)
    return build(MetaData(), DEFAULT_PREFIX)


def _known(context: MigrationContext) -> Keyring | None:
    given = context.opts.get("keyring")
    if isinstance(given, Keyring):
        return given
    if given is not None:
        raise ConfigurationError(
            f"context.configure(keyring=...) takes a Keyring, not a {type(given).__name__}"
        )
    found = [one.info[INFO_KEY] for one in metadatas(context) if INFO_KEY in one.info]
    return found[0] if found else None
