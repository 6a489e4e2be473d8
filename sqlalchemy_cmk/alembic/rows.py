"""How a table's rows name their tenant and themselves. See :class:`TableRows`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, Table, inspect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.configuration import model_table
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.rekey import Job, Move
from sqlalchemy_cmk.rekey.job import RowColumns, TenantColumn, row_columns_of, tenant_of

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


@dataclass(frozen=True, slots=True)
class TableRows:
    """The columns of a table on which its sealed values depend: its tenant column and its row identity.

    Attributes:
        tenant_column: ``"clinic_id"``; ``("people", "clinic_id")`` or ``("schema", "people", "clinic_id")``
            where it is in a base table; ``None`` for rows of the platform.
        tenant_type: the column's type where the database's own does not give the same values, as a UUID's
            does not on a database that keeps it as text.
        row_columns: the columns of the row identity, each with its type on the same terms; none where no
            value is row-bound.
    """

    tenant_column: TenantColumn | None = None
    tenant_type: TypeEngine[Any] | None = None
    row_columns: RowColumns = ()

    @classmethod
    def of(cls, table: Table, *types: Any) -> TableRows:
        """Return what a model's table says, as far as values of these types depend on it."""
        return cls(*tenant_of(table), row_columns_of(table) if _any_bound(types) else ())

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the table itself that are read."""
        own = (self.tenant_column,) if isinstance(self.tenant_column, str) else ()
        return (*own, *(name for name, _ in self.row_columns))

    def completed(self, context: MigrationContext, schema: str | None, name: str, *types: Any) -> TableRows:
        """Return what a migration has left out, as the model says it, or else the database.

        Args:
            context: the migration's.
            schema: the table's schema.
            name: the table's name.
            types: the types of the values.
        """
        model = model_table(context, schema, name)
        found = self
        if _any_bound(types) and not self.row_columns:
            found = replace(found, row_columns=_row_columns(context, model, schema, name))
        if model is None:
            return found
        tenant, tenant_type = tenant_of(model)
        if found.tenant_type is None and tenant is not None and tenant == found.tenant_column:
            found = replace(found, tenant_type=tenant_type)
        return replace(found, row_columns=typed(found.row_columns, model))

    def job(self, schema: str | None, name: str, moves: tuple[Move, ...], tenant: str | None = None) -> Job:
        """Return the job that moves values of this table."""
        return Job(name, moves, schema, self.tenant_column, self.tenant_type, tenant, self.row_columns)


PLATFORM = TableRows()


def needs_no_name(type_: TypeEngine[Any] | None) -> bool:
    """Return whether the database's own type gives the values that a type gives.

    An Enum, a String too, could not be written with its class: it is taken from the model.
    """
    if type_ is None:
        return True
    return type(type_).__module__.startswith("sqlalchemy.") and isinstance(type_, String | Integer)


def typed(columns: RowColumns, model: Table | None) -> RowColumns:
    """Return the columns of a row identity with the model's types, where the migration names none."""
    known = {} if model is None else {one.name: one.type for one in model.columns}
    return tuple((name, type_ or known.get(name)) for name, type_ in columns)


def _any_bound(types: tuple[Any, ...]) -> bool:
    return any(isinstance(one, EncryptedType) and one.scheme.row_bound for one in types)


def _row_columns(context: MigrationContext, model: Table | None, schema: str | None, name: str) -> RowColumns:
    if model is not None:
        return row_columns_of(model)
    if context.as_sql or context.bind is None:
        return ()
    key = inspect(context.bind).get_pk_constraint(name, schema=schema)
    return tuple((one, None) for one in key["constrained_columns"])
