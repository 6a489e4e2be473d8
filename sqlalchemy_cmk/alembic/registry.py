"""The table of sealed columns: what migrations have sealed, for the database's catalogue cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, inspect, select

from sqlalchemy_cmk.alembic.naming import type_of, type_text
from sqlalchemy_cmk.alembic.tenants import PLATFORM, Tenancy
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.types import EncryptedType


@dataclass(frozen=True, slots=True)
class Entry:
    """One sealed column as its last migration left it.

    Attributes:
        table: the table's name, with its schema.
        column: the column's name.
        context: what its values are bound to.
        deterministic: how they are sealed.
        type: the type of the values, as text.
        tenant_column: as ``op.encrypt_column`` takes it.
        tenant_type: likewise, as text.
    """

    table: str
    column: str
    context: str
    deterministic: bool
    type: str
    tenant_column: str | None = None
    tenant_type: str | None = None

    @classmethod
    def of(cls, table: str, column: str, type_: EncryptedType, tenancy: Tenancy = PLATFORM) -> Entry:
        """Return the entry of a column of this type."""
        context = type_.context or f"{table}.{column}"
        tenant_type = None if tenancy.type_ is None else type_text(tenancy.type_)
        values = context, type_.deterministic, type_text(type_.type_)
        return cls(table, column, *values, tenancy.column, tenant_type)

    @property
    def tenancy(self) -> Tenancy:
        """Where the column's rows tell their tenant."""
        return Tenancy(self.tenant_column, None if self.tenant_type is None else type_of(self.tenant_type))

    @property
    def default_context(self) -> str:
        """What the values would be bound to without a pinned context."""
        return f"{self.table}.{self.column}"

    @property
    def same_values(self) -> tuple[bool, str]:
        """What has to agree for a column to be this one under another name."""
        return self.deterministic, self.type

    @property
    def seal(self) -> tuple[str, bool, str]:
        """What has to agree for stored values to open."""
        return self.context, self.deterministic, self.type

    def encrypted_type(self) -> EncryptedType | None:
        """Return the column's type; ``None`` where the type of its values is not to be had any more."""
        type_ = type_of(self.type)
        if type_ is None:
            return None
        pinned = None if self.context == self.default_context else self.context
        return EncryptedType(type_, deterministic=self.deterministic, context=pinned)


class Registry:
    """Reads the table of sealed columns on a migration's own connection.

    Args:
        table: the table, one of the key tables.
        connection: the migration's connection.
    """

    def __init__(self, table: Table, connection: Connection) -> None:
        self._table = table
        self._connection = connection

    @property
    def exists(self) -> bool:
        """Whether the table is there."""
        return inspect(self._connection).has_table(self._table.name)

    def entries(self) -> dict[tuple[str, str], Entry]:
        """Return all entries by table and column."""
        rows = self._connection.execute(select(self._table)).all() if self.exists else []
        return {(row.table_name, row.column_name): Entry(*row) for row in rows}

    def require(self) -> None:
        """Raise where the table is not there.

        Raises:
            ConfigurationError: the table of sealed columns is not there.
        """
        if not self.exists:
            raise ConfigurationError(
                f"there is no table {self._table.name}: the key tables come first, in this migration or an "
                "earlier one; alembic revision --autogenerate writes them, after keyring.protect(Base)"
            )


def row_of(entry: Entry) -> dict[str, object]:
    """Return an entry's row."""
    return {
        "table_name": entry.table,
        "column_name": entry.column,
        "context": entry.context,
        "deterministic": entry.deterministic,
        "type": entry.type,
        "tenant_column": entry.tenant_column,
        "tenant_type": entry.tenant_type,
    }
