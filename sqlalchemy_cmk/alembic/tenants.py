"""The tenant column of a table, as operations name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, Table
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.configuration import metadatas
from sqlalchemy_cmk.rekey.job import tenant_of

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Where a table's rows tell their tenant.

    Attributes:
        column: ``"clinic_id"``, or ``"people.clinic_id"`` where it is in a base table; ``None`` for rows of
            the platform.
        type_: the column's type where the database's own does not give the same values, as a UUID's does not
            on a database that keeps it as text.
    """

    column: str | None = None
    type_: TypeEngine[Any] | None = None

    @classmethod
    def of(cls, table: Table) -> Tenancy:
        """Return that of a model's table."""
        column, type_ = tenant_of(table)
        # An Enum, a String too, would be written without its class: it is taken from the model.
        plain = type(type_).__module__.startswith("sqlalchemy.") and isinstance(type_, String | Integer)
        return cls(column, None if plain else type_)

    def completed(self, context: MigrationContext, fullname: str) -> Tenancy:
        """Return it with the model's type, where the migration names none."""
        for metadata in metadatas(context):
            table = metadata.tables.get(fullname)
            if table is not None and self.type_ is None and self.column is not None:
                column, type_ = tenant_of(table)
                if column == self.column:
                    return Tenancy(column, type_)
        return self


PLATFORM = Tenancy()
