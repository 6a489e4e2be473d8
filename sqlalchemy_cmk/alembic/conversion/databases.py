"""Which statements a database takes for a conversion."""

from __future__ import annotations

from typing import Any

from alembic.operations import Operations
from sqlalchemy import MetaData, Table
from sqlalchemy.exc import NoSuchTableError

from sqlalchemy_cmk.alembic.conversion.mariadb import MariaDb
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.postgresql import Postgresql
from sqlalchemy_cmk.alembic.conversion.sqlite import Sqlite
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation

Database = Postgresql | MariaDb | Sqlite

DATABASES: dict[str, type[Postgresql] | type[MariaDb] | type[Sqlite]] = {
    "postgresql": Postgresql,
    "mariadb": MariaDb,
    "mysql": MariaDb,
    "sqlite": Sqlite,
}


def database_of(operations: Operations, plan: Plan) -> Database:
    """Return the statements of a conversion on the migration's database.

    Raises:
        UnsupportedOperation: columns are not converted on this database.
        ConfigurationError: there is no such table.
    """
    name = operations.migration_context.dialect.name
    if name not in DATABASES:
        raise UnsupportedOperation(f"columns are not sealed by migrations on {name}")
    return DATABASES[name](operations, plan, _table(operations, plan))


def _table(operations: Operations, plan: Plan) -> Table:
    options: dict[str, Any] = {}
    if not operations.migration_context.as_sql:
        options = {"autoload_with": operations.get_bind(), "resolve_fks": False}
    try:
        return Table(plan.table, MetaData(), schema=plan.schema, **options)
    except NoSuchTableError:
        pass
    raise ConfigurationError(f"there is no table {plan.fullname}")
