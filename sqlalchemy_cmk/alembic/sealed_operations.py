"""The operations on columns that stay sealed: re-encryption, the table of sealed columns, renames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.alembic.operations import ColumnOp
from sqlalchemy_cmk.alembic.tenants import PLATFORM, Tenancy
from sqlalchemy_cmk.alembic.undoing import NothingToUndoOp
from sqlalchemy_cmk.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sqlalchemy_cmk.types import EncryptedType


@Operations.register_operation("reencrypt")
class ReencryptOp(ColumnOp):
    """Open values and seal them anew, in place."""

    def __init__(
        self,
        table_name: str,
        columns: Sequence[str],
        tenant: str | None = None,
        *,
        type_: EncryptedType | None = None,
        existing_type: EncryptedType | None = None,
        tenancy: Tenancy = PLATFORM,
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, ", ".join(columns), schema)
        self.columns = tuple(columns)
        self.tenant = tenant
        self.type_ = type_
        self.existing_type = existing_type
        self.tenancy = tenancy

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
        tenant_column: str | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        schema: str | None = None,
    ) -> None:
        """Seal values anew: under their tenants' active DEKs, or as another type says.

        Args:
            operations: Alembic's.
            table_name: the table.
            columns: the sealed columns, or one; all of them without it.
            tenant: only rows of this tenant.
            type_: the column's type from now on, where its context, the type of its values or
                ``deterministic`` changes. Then ``columns`` names one column.
            existing_type: the type under which its values are sealed now.
            tenant_column: the column that tells whose row it is; needed with the two types.
            tenant_type: that column's type, as for ``op.encrypt_column``.
            schema: the table's schema.

        Raises:
            ConfigurationError: the columns are not known as sealed ones, or only one of the types is given.
        """
        names = (columns,) if isinstance(columns, str) else tuple(columns or ())
        if (type_ is None) is not (existing_type is None):
            raise ConfigurationError("op.reencrypt takes both type_ and existing_type, or neither")
        if type_ is not None and (len(names) != 1 or tenant is not None):
            raise ConfigurationError("op.reencrypt to another type takes one column, and rows of all tenants")
        options: dict[str, Any] = {"tenancy": Tenancy(tenant_column, tenant_type), "schema": schema}
        operations.invoke(cls(table_name, names, tenant, type_=type_, existing_type=existing_type, **options))

    def reverse(self) -> MigrateOperation:
        """Return the operation with the types exchanged; values under a new DEK stay as they are."""
        if self.type_ is None:
            return NothingToUndoOp(f"the values of {self.where} open under the DEKs they are sealed under")
        return ReencryptOp(
            self.table_name,
            self.columns,
            type_=self.existing_type,
            existing_type=self.type_,
            tenancy=self.tenancy,
            schema=self.schema,
        )


@Operations.register_operation("register_sealed_column")
class RegisterSealedColumnOp(ColumnOp):
    """Note in the table of sealed columns how a column is sealed."""

    def __init__(
        self,
        table_name: str,
        column_name: str,
        type_: EncryptedType,
        *,
        tenancy: Tenancy = PLATFORM,
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.type_ = type_
        self.tenancy = tenancy

    @classmethod
    def register_sealed_column(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        type_: EncryptedType,
        *,
        tenant_column: str | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        schema: str | None = None,
    ) -> None:
        """Note how a column is sealed that was made sealed; no row is touched.

        Autogenerate compares models with this note: the database itself says only that a column holds bytes.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the column.
            type_: its type.
            tenant_column: the column that tells whose row it is.
            tenant_type: that column's type, as for ``op.encrypt_column``.
            schema: the table's schema.
        """
        tenancy = Tenancy(tenant_column, tenant_type)
        operations.invoke(cls(table_name, column_name, type_, tenancy=tenancy, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that takes the note away."""
        return UnregisterSealedColumnOp(
            self.table_name,
            self.column_name,
            self.type_,
            tenancy=self.tenancy,
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
        tenancy: Tenancy = PLATFORM,
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.existing_type = existing_type
        self.tenancy = tenancy

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
            return NothingToUndoOp(f"the type of the values of {self.where} is not known any more")
        return RegisterSealedColumnOp(
            self.table_name,
            self.column_name,
            self.existing_type,
            tenancy=self.tenancy,
            schema=self.schema,
        )


class RenameSealedOp(ColumnOp):
    """A rename that autogenerate found: written as Alembic's own operation."""

    def __init__(
        self, table_name: str, column_name: str | None, new_name: str, existing: Any, schema: str | None
    ) -> None:
        super().__init__(table_name, column_name or "", schema)
        self.new_name = new_name
        self.existing = existing

    def reverse(self) -> MigrateOperation:
        """Return the rename back."""
        if self.column_name:
            return RenameSealedOp(
                self.table_name, self.new_name, self.column_name, self.existing, self.schema
            )
        return RenameSealedOp(self.new_name, None, self.table_name, None, self.schema)


@Operations.implementation_for(RenameSealedOp)
def _rename(operations: Operations, operation: RenameSealedOp) -> None:
    table, schema = operation.table_name, operation.schema
    if not operation.column_name:
        operations.rename_table(table, operation.new_name, schema=schema)
        return
    existing: dict[str, Any] = operation.existing
    name, new_name = operation.column_name, operation.new_name
    operations.alter_column(table, name, new_column_name=new_name, schema=schema, **existing)
