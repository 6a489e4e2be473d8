"""The operations that note in the table of sealed columns what comes, goes and is renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.alembic.ops.base import ColumnOp, TableOp, expect
from sqlalchemy_cmk.alembic.ops.undo import NothingToUndoOp
from sqlalchemy_cmk.alembic.rows import PLATFORM, TableRows
from sqlalchemy_cmk.rekey.job import GivenRowColumns, TenantColumn
from sqlalchemy_cmk.rekey.job import row_columns as identity

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sqlalchemy_cmk.columns.type import EncryptedType


@Operations.register_operation("register_sealed_column")
class RegisterSealedColumnOp(ColumnOp):
    """Note in the table of sealed columns how a column is sealed."""

    def __init__(
        self,
        table_name: str,
        column_name: str,
        type_: EncryptedType,
        *,
        rows: TableRows = PLATFORM,
        schema: str | None = None,
        before: RegisterSealedColumnOp | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.type_ = type_
        self.rows = rows
        self.before = before

    @classmethod
    def register_sealed_column(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        type_: EncryptedType,
        *,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        schema: str | None = None,
    ) -> None:
        """Note how a column is sealed that was made sealed; no row is touched.

        Autogenerate compares models with this note: the database itself says only that a column holds bytes.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the column.
            type_: its type.
            tenant_column: the column that says whose row it is, as for ``op.encrypt_column``.
            tenant_type: that column's type, likewise.
            row_columns: the columns that identify a row, likewise.
            schema: the table's schema.
        """
        expect(type_, sealed=True, name="type_")
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        operations.invoke(cls(table_name, column_name, type_, rows=rows, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that takes the note away, or writes again the one before."""
        return self.before or UnregisterSealedColumnOp(
            self.table_name,
            self.column_name,
            self.type_,
            rows=self.rows,
            schema=self.schema,
        )


@Operations.register_operation("unregister_sealed_column")
class UnregisterSealedColumnOp(ColumnOp):
    """Take a column out of the table of sealed columns."""

    def __init__(
        self,
        table_name: str,
        column_name: str,
        existing_type: EncryptedType | None = None,
        *,
        rows: TableRows = PLATFORM,
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.existing_type = existing_type
        self.rows = rows

    @classmethod
    def unregister_sealed_column(
        cls, operations: Operations, table_name: str, column_name: str, *, schema: str | None = None
    ) -> None:
        """Take a column out of the table of sealed columns, when it is dropped or renamed.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the column.
            schema: the table's schema.
        """
        operations.invoke(cls(table_name, column_name, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that puts the note back."""
        if self.existing_type is None:
            return NothingToUndoOp(f"the type of the values of {self.where} cannot be found any more")
        return RegisterSealedColumnOp(
            self.table_name,
            self.column_name,
            self.existing_type,
            rows=self.rows,
            schema=self.schema,
        )


class RenameSealedColumnOp(ColumnOp):
    """A column's rename that autogenerate has found: written as ``op.alter_column``."""

    def __init__(
        self, table_name: str, column_name: str, new_name: str, existing: dict[str, Any], schema: str | None
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.new_name = new_name
        self.existing = existing

    def reverse(self) -> MigrateOperation:
        """Return the rename back."""
        return RenameSealedColumnOp(
            self.table_name, self.new_name, self.column_name, self.existing, self.schema
        )


class RenameSealedTableOp(TableOp):
    """A table's rename that autogenerate has found: written as ``op.rename_table``."""

    def __init__(self, table_name: str, new_name: str, schema: str | None) -> None:
        super().__init__(table_name, schema)
        self.new_name = new_name

    def reverse(self) -> MigrateOperation:
        """Return the rename back."""
        return RenameSealedTableOp(self.new_name, self.table_name, self.schema)
