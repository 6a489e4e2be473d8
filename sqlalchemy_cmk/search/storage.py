"""What a database searches the tokens of :class:`NGram` by: made and dropped with the table, or by itself.

On PostgreSQL that is an index of the table like any other. Elsewhere it is a table of its own with triggers,
which reflection sees, and which belongs to no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Dialect, Table

from sqlalchemy_cmk.columns.token_columns import TokenIndex, token_indexes
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.quoting import verbatim
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.search.grams import names_of


def create_statements(dialect: Dialect, one: TokenIndex, schema: str | None = None) -> list[str]:
    """Return the SQL that makes what an index's tokens are searched by, for the rows that are there too.

    Args:
        dialect: the database's.
        one: the index; its hidden column is there.
        schema: the table's schema in the database; that of the table by default.

    Returns:
        Statements, for :func:`~sqlalchemy_cmk.databases.quoting.verbatim`; none where the index needs none
        besides its hidden column and that column's index.

    Raises:
        ConfigurationError: the table cannot be searched so; the message says why.
    """
    if not one.index.stores_grams:
        return []
    return database_of(dialect).gram_storage().create(names_of(one, schema), dialect)


def drop_statements(dialect: Dialect, one: TokenIndex, schema: str | None = None) -> list[str]:
    """Return the SQL that drops what :func:`create_statements` makes, as far as it is there."""
    if not one.index.stores_grams:
        return []
    return database_of(dialect).gram_storage().drop(names_of(one, schema), dialect)


def owned_tables(table: Table) -> set[str]:
    """Return the names of the tables that belong to a table's indexes, on any database.

    FTS5 keeps tables of its own, whose names begin with one of these and an underscore.
    """
    found = [one for indexes in token_indexes(table).values() for one in indexes if one.index.stores_grams]
    return {names_of(one, number=number).storage for one in found for number in (0, 1)}


def create_storage(table: Table, connection: Any, **_: Any) -> None:
    """Make what a new table's tokens are searched by.

    Raises:
        ConfigurationError: the table is a temporary one, and the database would keep this behind it.
    """
    for indexes in token_indexes(table).values() if private.is_temporary(table) else ():
        for one in indexes:
            if create_statements(connection.dialect, one):
                raise ConfigurationError(
                    f"{one.where}: the index {one.index.suffix!r} is searched by a table and triggers of its "
                    "own, which a temporary table has not: give it other indexes, or search in Python"
                )
    _run(table, connection, create_statements)


def drop_storage(table: Table, connection: Any, **_: Any) -> None:
    """Drop what a table's tokens are searched by, before the table is dropped."""
    _run(table, connection, drop_statements)


def refuse_without_storage(
    one: TokenIndex, number: int, connection: Connection, options: Mapping[str, Any]
) -> None:
    """Refuse a question to an index whose storage the table has lost, and which would miss rows.

    Args:
        one: the index.
        number: which of its two hidden columns is asked.
        connection: where the question goes.
        options: the execution options of its statement.

    Raises:
        UnsupportedOperation: naming what to run.
    """
    if not one.index.stores_grams:
        return
    names = names_of(one, _schema(one.sealed.table, options), number)
    if not database_of(connection.dialect).gram_storage().is_complete(names, connection):
        raise UnsupportedOperation(
            f"{one.where}: the table or the triggers by which the index {one.index.suffix!r} is searched "
            "are not there, as after a migration that copied the table, and rows would be missing: run "
            "drop_statements() and create_statements() of sqlalchemy_cmk.search.storage in a migration"
        )


def _run(table: Table, connection: Any, statements: Any) -> None:
    options: Any = getattr(connection, "get_execution_options", dict)()
    for indexes in token_indexes(table).values():
        for one in indexes:
            if one.index.stores_grams:
                for statement in statements(connection.dialect, one, _schema(table, options)):
                    connection.execute(verbatim(statement))


def _schema(table: Table, options: Mapping[str, Any]) -> str | None:
    """Return a table's schema as the connection translates it."""
    translated: str | None = (options.get("schema_translate_map") or {}).get(table.schema, table.schema)
    return translated
