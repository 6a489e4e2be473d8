"""The contract of a database's statements for a conversion, and :func:`statements_of`, which finds them.

Each database that :mod:`sqlalchemy_cmk.databases` knows has a file here of the same name, with a class
``Statements``; one without a file has no conversions.
"""

# What a database does not need it leaves out.
# ruff: noqa: B027

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import ClassVar, TypeVar

from alembic.operations import Operations
from sqlalchemy import ColumnElement, Executable, MetaData, Table, false
from sqlalchemy.exc import NoSuchTableError

from sqlalchemy_cmk.alembic.conversion.catalogue import Structure
from sqlalchemy_cmk.alembic.conversion.patience import patiently
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.names import refuse_doubled_percents
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.quoting import Quoting, verbatim
from sqlalchemy_cmk.databases.reflection import reflected_table
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation

T = TypeVar("T")


class ConversionStatements(ABC):
    """Executes the statements of one conversion.

    Args:
        operations: Alembic's.
        plan: the conversion.
        table: the table, as far as it could be reflected.

    Attributes:
        is_transactional: whether a transaction undoes changes of a table; elsewhere each statement commits.
        swaps_offline: whether ``--sql`` can write the swap.
    """

    is_transactional: ClassVar[bool] = True
    swaps_offline: ClassVar[bool] = True

    def __init__(self, operations: Operations, plan: Plan, table: Table) -> None:
        self._operations = operations
        self._plan = plan
        self._dialect = operations.migration_context.dialect
        self._reflected = table
        self._quoting = Quoting(self._dialect)
        self._quote = self._quoting.name
        self._table = self._quoting.table(plan.table, plan.schema)
        self._base = _base_table(plan, self._quoting)
        self._schema = f"{self._quote(plan.schema)}." if plan.schema else ""
        self._column, self._shadow = self._quote(plan.column), self._quote(plan.shadow)

    def _execute(self, statement: str | Executable) -> None:
        self._operations.execute(verbatim(statement) if isinstance(statement, str) else statement)

    @abstractmethod
    def watches(self) -> bool:
        """Return whether :meth:`watch` is in effect."""

    @abstractmethod
    def watch(self) -> None:
        """Empty the shadow whenever the column or the row's tenant changes, and the shadow does not."""

    @abstractmethod
    def unwatch(self) -> None:
        """Undo :meth:`watch`."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Run the block in a transaction, where the database has one for changes of a table.

        In it locks are waited for a second or two, and at its end all are given back.
        """

    @abstractmethod
    def lock(self) -> None:
        """Keep others from the table, and from writing the table that holds the tenant column.

        At once: who has read a table and waits to write it would be in a deadlock with a lock that is raised.
        """

    def patiently(self, work: Callable[[], T]) -> T:
        """Run work that needs locks; see :func:`~.patience.patiently`."""
        return patiently(self._plan.where, database_of(self._dialect), work)

    def swap_offline(self) -> None:
        """Write the swap into ``--sql``.

        A client may go on after an error: the statement that drops the column fails by itself where a shadow
        is empty, whatever became of those before it.
        """

    def has_shadow(self) -> ColumnElement[bool]:
        """Return the condition that the shadow is there, for statements of ``--sql``."""
        return false()

    @abstractmethod
    def swap(self, structure: Structure) -> None:
        """Put the shadow in the column's place."""

    @abstractmethod
    def make_binary(self, made: str, structure: Structure) -> None:
        """Turn plain values into their bytes, in place.

        Args:
            made: the column's new type, as the database writes it.
            structure: what depends on the column.
        """


def statements_of(operations: Operations, plan: Plan) -> ConversionStatements:
    """Return the statements of a conversion on the migration's database.

    Raises:
        UnsupportedOperation: columns are not converted on this database.
        ConfigurationError: there is no such table.
    """
    refuse_doubled_percents(operations.migration_context, filter(None, plan.name))
    database = database_of(operations.migration_context.dialect)
    if not database.key:
        raise UnsupportedOperation(f"columns are not sealed by migrations on {database.name}")
    module = import_module(f"{__package__}.{database.key}")
    statements: type[ConversionStatements] = module.Statements
    return statements(operations, plan, _table(operations, plan))


def _base_table(plan: Plan, quoting: Quoting) -> str | None:
    """Return the quoted name of the base table that holds the tenant column, if another does."""
    tenant = plan.rows.tenant_column
    if tenant is None or isinstance(tenant, str):
        return None
    *schema, name, _ = tenant
    return quoting.table(name, schema[0] if schema else None)


def _table(operations: Operations, plan: Plan) -> Table:
    if operations.migration_context.as_sql:
        return Table(plan.table, MetaData(), schema=plan.schema)
    try:
        return reflected_table(operations.get_bind(), plan.table, plan.schema, MetaData())
    except NoSuchTableError:
        pass
    raise ConfigurationError(f"there is no table {plan.fullname}")
