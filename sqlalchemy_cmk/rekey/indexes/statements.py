"""The statements that make and drop hidden columns and what the database searches them by."""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import Connection, MetaData, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError

from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.grams.base import GramNames
from sqlalchemy_cmk.databases.quoting import Quoting, fitting, verbatim
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.indexes.records import StoredIndex
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.reflected import reflected


def has_column(connection: Connection, spec: IndexSpec, hidden: str) -> bool:
    """Return whether the table has a hidden column."""
    return any(one["name"] == hidden for one in reflected_columns(connection, spec.table, spec.schema))


def has_table(connection: Connection, stored: StoredIndex) -> bool:
    """Return whether the table of a recorded index is there."""
    return inspect(connection).has_table(stored.table, schema=stored.schema or None)


def add_column(connection: Connection, spec: IndexSpec, hidden: str) -> None:
    """Add a hidden column that nobody writes yet, with the triggers of what it is searched by.

    Raises:
        ConfigurationError: the table cannot be searched so.
    """
    # Before the column: what refuses the table leaves nothing behind.
    storage = _storage(connection, spec, hidden, filled=False)
    if not has_column(connection, spec, hidden):
        quoting = Quoting(connection.dialect)
        type_ = quoting.compiled(TokenType(spec.index))
        _run(connection, f"ALTER TABLE {_table(quoting, spec)} ADD COLUMN {quoting.name(hidden)} {type_}")
    for statement in storage:
        _run(connection, statement)


def add_index(connection: Connection, spec: IndexSpec, hidden: str) -> None:
    """Have the database search a hidden column, while others write the table.

    Raises:
        ConfigurationError: the index is unique, and two rows have equal values.
    """
    name, database = index_name(spec, hidden), database_of(connection.dialect)
    if spec.index.stores_grams and not database.gram_storage().is_complete(
        _names(connection, spec, hidden), connection
    ):
        for statement in _storage(connection, spec, hidden, filled=True):
            _run(connection, statement)
    using = database.gram_storage().index_method if spec.index.stores_grams else ""
    if using is None:
        return
    there = {one["name"]: one for one in inspect(connection).get_indexes(spec.table, spec.schema)}
    if name in there and database.is_index_valid(connection, spec.schema, name):
        return
    quoting = Quoting(connection.dialect)
    if name in there:
        _drop_index(connection, spec, name)
    unique = "UNIQUE " if spec.index.unique else ""
    on = f"{_table(quoting, spec)} {using}({quoting.name(hidden)})"
    try:
        _run(connection, f"CREATE {unique}INDEX {database.concurrently}{quoting.name(name)} ON {on}")
        return
    except IntegrityError:
        pass
    except DBAPIError as error:
        if not database.is_misfit(error):
            raise
    raise ConfigurationError(
        f"{spec.where}: the index is unique, and rows have equal values: make them unlike, and run this again"
    )


def drop_column(connection: Connection, spec: IndexSpec, hidden: str) -> None:
    """Drop a hidden column, and what the database searches it by, if they are there."""
    if not has_column(connection, spec, hidden):
        return
    for statement in _drop_storage(connection, spec, hidden):
        _run(connection, statement)
    for one in inspect(connection).get_indexes(spec.table, spec.schema):
        if list(one["column_names"]) == [hidden]:
            _drop_index(connection, spec, str(one["name"]))
    quoting = Quoting(connection.dialect)
    _run(connection, f"ALTER TABLE {_table(quoting, spec)} DROP COLUMN {quoting.name(hidden)}")


def clear_nulls(connection: Connection, spec: IndexSpec, hidden: str) -> None:
    """Take away the tokens of rows without a value, which a process that did not know the index has left."""
    quoting = Quoting(connection.dialect)
    token, names = quoting.name(hidden), (spec.column, *(name for name, _ in spec.others))
    empty = " OR ".join(f"{quoting.name(name)} IS NULL" for name in names)
    where = f"WHERE ({empty}) AND {token} IS NOT NULL"
    some = f"SELECT 1 FROM {_table(quoting, spec)} {where} LIMIT 1"  # noqa: S608
    # Read first: on MariaDB the UPDATE locks each row that it looks at.
    if connection.execute(verbatim(some)).first() is not None:
        _run(connection, f"UPDATE {_table(quoting, spec)} SET {token} = NULL {where}")  # noqa: S608


def index_name(spec: IndexSpec, hidden: str) -> str:
    """Return the name of the database's index of a hidden column."""
    # Two tables of one name in two schemas may share their indexes' namespace.
    mark = sha256(f"{spec.schema}.{spec.table}.{hidden}".encode()).hexdigest()[:8]
    return fitting(f"ix_{spec.table}_{hidden}", f"_{mark}")


def _storage(connection: Connection, spec: IndexSpec, hidden: str, *, filled: bool) -> list[str]:
    """Return the statements that make what sets of tokens are searched by, in place of what is there."""
    if not spec.index.stores_grams:
        return []
    names, storage = _names(connection, spec, hidden), database_of(connection.dialect).gram_storage()
    made = storage.create(names, connection.dialect, filled=filled)
    return [*storage.drop(names, connection.dialect), *made]


def _drop_storage(connection: Connection, spec: IndexSpec, hidden: str) -> list[str]:
    if not spec.index.stores_grams:
        return []
    storage = database_of(connection.dialect).gram_storage()
    return storage.drop(_names(connection, spec, hidden), connection.dialect)


def _names(connection: Connection, spec: IndexSpec, hidden: str) -> GramNames:
    return GramNames(reflected(MetaData(), spec.table, spec.schema, connection), hidden, spec.schema)


def _drop_index(connection: Connection, spec: IndexSpec, name: str) -> None:
    quoting, database = Quoting(connection.dialect), database_of(connection.dialect)
    named = quoting.table(name, spec.schema) if database.indexes_have_schemas else quoting.name(name)
    on = "" if database.indexes_have_schemas else f" ON {_table(quoting, spec)}"
    _run(connection, f"DROP INDEX {database.concurrently}{named}{on}")


def _table(quoting: Quoting, spec: IndexSpec) -> str:
    return quoting.table(spec.table, spec.schema)


def _run(connection: Connection, statement: str) -> None:
    connection.execute(verbatim(statement))
