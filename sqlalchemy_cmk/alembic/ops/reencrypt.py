"""``op.reencrypt``: opens sealed values and seals them again, under other DEKs or as another type says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.alembic.ops.base import ColumnOp, TableOp, expect
from sqlalchemy_cmk.alembic.ops.undo import NothingToUndoOp
from sqlalchemy_cmk.alembic.rows import PLATFORM, TableRows
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.job import GivenRowColumns, RowColumns, TenantColumn
from sqlalchemy_cmk.rekey.job import row_columns as identity
from sqlalchemy_cmk.runtime.kinds import several, text
from sqlalchemy_cmk.runtime.printable import printable

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sqlalchemy_cmk.columns.type import EncryptedType

COLUMNS = several("a list of columns' names, or one name", str).or_none
TENANT = text("a tenant's name").or_none


@Operations.register_operation("reencrypt")
class ReencryptOp(TableOp):
    """Seal values of a table again, under their owners' active DEKs."""

    def __init__(
        self,
        table_name: str,
        columns: Sequence[str] = (),
        tenant: str | None = None,
        *,
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, schema)
        self.columns = tuple(columns)
        self.tenant = tenant

    @classmethod
    def reencrypt(
        cls,
        operations: Operations,
        table_name: str,
        columns: str | Sequence[str] | None = None,
        tenant: str | None = None,
        *,
        type_: EncryptedType | None = None,
        existing_type: EncryptedType | None = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        existing_row_columns: GivenRowColumns = None,
        schema: str | None = None,
    ) -> None:
        """Seal values again: under their owners' active DEKs, or as another type says.

        Args:
            operations: Alembic's.
            table_name: the table.
            columns: the sealed columns, or one; all of them without it.
            tenant: only values of this tenant; ``""`` for those of the platform.
            type_: the column's type from now on, where the type of its values, its context, its owner,
                ``deterministic`` or ``row_bound`` changes. Then ``columns`` names one column.
            existing_type: the type under which its values are sealed now.
            tenant_column: the column that says whose row it is, as for ``op.encrypt_column``; needed with
                the two types.
            tenant_type: that column's type, likewise.
            row_columns: the columns that identify a row, likewise, where one of the types is row-bound.
            existing_row_columns: the columns that identified a row, where they change.
            schema: the table's schema.

        Raises:
            ConfigurationError: the columns are not known as sealed ones, or only one of the types is given.
        """
        columns = (columns,) if isinstance(columns, str) else columns
        COLUMNS.require("columns", columns)
        TENANT.require("tenant", tenant)
        names = tuple(columns or ())
        if type_ is None and existing_type is None:
            operations.invoke(cls(table_name, names, tenant, schema=schema))
            return
        if type_ is None or existing_type is None:
            raise ConfigurationError("op.reencrypt takes both type_ and existing_type, or neither")
        if len(names) != 1 or tenant is not None:
            raise ConfigurationError("op.reencrypt to another type takes one column, and rows of all tenants")
        expect(type_, sealed=True, name="type_")
        expect(existing_type, sealed=True, name="existing_type")
        operations.invoke(
            ChangeSchemeOp(
                table_name,
                names[0],
                type_,
                existing_type,
                rows=TableRows(tenant_column, tenant_type, identity(row_columns)),
                existing_row_columns=identity(existing_row_columns),
                schema=schema,
            )
        )

    @property
    def where(self) -> str:
        """The table, and its columns where they are named, for messages."""
        columns = f": {printable(', '.join(self.columns))}" if self.columns else ""
        return super().where + columns

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return (*super().to_diff_tuple(), self.columns, self.tenant)

    def reverse(self) -> MigrateOperation:
        """Return that there is nothing to undo: values under a newer DEK open as well."""
        return NothingToUndoOp(f"the values of {self.where} open under the DEKs they are sealed under")


class ChangeSchemeOp(ColumnOp):
    """Seal a column's values as another type says; written ``op.reencrypt`` with two types."""

    def __init__(
        self,
        table_name: str,
        column_name: str,
        type_: EncryptedType,
        existing_type: EncryptedType | None,
        *,
        rows: TableRows = PLATFORM,
        existing_row_columns: RowColumns = (),
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.type_ = type_
        self.existing_type = existing_type
        self.rows = rows
        self.existing_row_columns = existing_row_columns

    def reverse(self) -> MigrateOperation:
        """Return the operation with the types, and the row identities, exchanged."""
        rows, existing = self.rows, self.existing_row_columns
        if existing:
            rows, existing = replace(rows, row_columns=existing), rows.row_columns
        return ChangeSchemeOp(
            self.table_name,
            self.column_name,
            self.existing_type,  # type: ignore[arg-type]  # None is rendered, and refused when it is run
            self.type_,
            rows=rows,
            existing_row_columns=existing,
            schema=self.schema,
        )
