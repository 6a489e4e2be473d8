"""``wrap``: a driver's own connection, whose cursors seal what they send and open what they fetch."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection as BoundConnection
from sqlalchemy import MetaData, inspect

from sqlalchemy_cmk.databases.derived import derived_tables
from sqlalchemy_cmk.dbapi.connection import Connection
from sqlalchemy_cmk.dbapi.lent import bound_to, without_transaction
from sqlalchemy_cmk.dbapi.statements import Statements
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.arguments import metadata_of
from sqlalchemy_cmk.keys.declarations import refuse_wrong_declarations
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.sql import Schema


def wrap(connection: Any, keyring: Keyring, tables: MetaData | Any) -> Connection:
    """Return a PEP 249 connection whose cursors open sealed values that they fetch, and seal what they send.

    Statements that name no table with sealed columns pass unchanged. Others are interpreted with the declared
    tables. What is not understood for certain is refused, and the error says what to write instead.

    Args:
        connection: a connection of ``sqlite3``, ``psycopg`` or ``pymysql``, to a database that the keyring
            serves.
        keyring: the keyring, which protects ``tables``.
        tables: the declarative base, or its ``MetaData``.

    Raises:
        ConfigurationError: the driver is not known, the keyring does not protect the tables, or does not
            serve the database that the connection leads to.
    """
    metadata = protected_metadata(keyring, tables)
    with without_transaction(connection):
        lent, bound = bound_to(connection)
        keyring.for_connection(bound)
        # In a dry run values are stored as they are.
        schema = schema_of(metadata if keyring.dry_run is None else MetaData(), bound)
        bound.rollback()  # of SQLAlchemy's own, which has not begun one
    return Connection(connection, lent, bound, Statements(schema, bound.dialect))


def protected_metadata(keyring: Keyring, tables: MetaData | Any) -> MetaData:
    """Return the metadata of tables that a keyring protects.

    Raises:
        ConfigurationError: it does not, or a table is declared wrongly.
    """
    KEYRING.require("keyring", keyring)
    metadata = metadata_of(tables, "tables")
    if metadata not in keyring.protected:
        raise ConfigurationError(
            "this keyring does not protect these tables: call keyring.protect(Base) first"
        )
    refuse_wrong_declarations(metadata)
    return metadata


def schema_of(metadata: MetaData, connection: BoundConnection) -> Schema:
    """Return the tables of a metadata, with the views over them that a connection's database has."""
    default = str(inspect(connection).default_schema_name or "")
    derived = derived_tables(connection)
    views: set[tuple[str, str]] = set()
    while True:  # there may be views over views
        known = Schema(metadata, [default], views)
        new = {
            (one.schema, one.name)
            for one in derived
            if one.definition is None or known.may_concern(one.definition)
        }
        if new <= views:
            return known
        views |= new
