"""``op.encrypt_column`` and ``op.decrypt_column``, which are each other's inverse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from alembic.operations import BatchOperations, MigrateOperation, Operations

from sqlalchemy_cmk.alembic.alembic_private import batch_table
from sqlalchemy_cmk.alembic.ops.base import ColumnOp, expect
from sqlalchemy_cmk.alembic.rows import PLATFORM, TableRows
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.job import GivenRowColumns, TenantColumn
from sqlalchemy_cmk.rekey.job import row_columns as identity
from sqlalchemy_cmk.runtime.kinds import named

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

Phase = Literal["all", "expand", "copy", "swap"]
PHASES = ("all", "expand", "copy", "swap")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a conversion.

    Attributes:
        nullable: whether the column takes NULL.
        default: the text of the plain column's default in the database.
        rows: how the table's rows name their tenant and themselves.
        phase: which part of the conversion is done.
        mixed: make the column one of bytes, and seal no row.
        plaintexts: the values are the plaintexts, though they look like ciphertext.
        scrub: rewrite the table afterwards.

    Raises:
        ConfigurationError: there is no such phase.
    """

    nullable: bool = True
    default: str | None = None
    rows: TableRows = PLATFORM
    phase: Phase = "all"
    mixed: bool = False
    scrub: bool = False
    plaintexts: bool = False

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ConfigurationError(f"phase is one of {', '.join(PHASES)}, not {named(self.phase)}")


class ConversionOp(ColumnOp):
    """What sealing and opening a column have in common."""

    def __init__(
        self,
        table_name: str,
        column_name: str,
        type_: TypeEngine[Any],
        existing_type: TypeEngine[Any] | None,
        options: Options,
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.type_ = type_
        self.existing_type = existing_type
        self.options = options

    def inverse(self, **options: Any) -> tuple[Any, ...]:
        """Return the arguments of the operation that undoes this one."""
        undone = replace(self.options, **{"phase": "all", "mixed": False, "scrub": False, **options})
        return self.table_name, self.column_name, self.existing_type, self.type_, undone, self.schema


@Operations.register_operation("encrypt_column")
@BatchOperations.register_operation("encrypt_column", "batch_encrypt_column")
class EncryptColumnOp(ConversionOp):
    """Seal a column that holds plain values."""

    @classmethod
    def encrypt_column(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        type_: EncryptedType,
        *,
        existing_type: TypeEngine[Any],
        existing_nullable: bool = True,
        existing_server_default: Any = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        schema: str | None = None,
        phase: Phase = "all",
        mixed: bool = False,
        scrub: bool = False,
        existing_plaintexts: bool = False,
    ) -> None:
        """Seal a column that holds plain values.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the column.
            type_: the model's type; without a ``context`` values are bound to the table and column.
            existing_type: the type that the column had: as the database has it, or another library's with its
                key, whose values are decrypted and sealed.
            existing_nullable: whether the column takes NULL.
            existing_server_default: the column's default in the database. A sealed column has none;
                ``downgrade`` puts it back.
            tenant_column: the column that says whose row it is; ``("people", "clinic_id")`` where that is in
                the base table of joined inheritance; ``None`` for rows of the platform.
            tenant_type: that column's type where the database's own does not give the same values, as with a
                UUID that is kept as text.
            row_columns: of a row-bound type, the columns that identify a row: names, or a mapping from names
                to types where the database's own do not give the same values. Without it the model's, or
                else the primary key.
            schema: the table's schema.
            phase: ``"all"``, or one of ``"expand"``, ``"copy"``, ``"swap"`` in migrations of their own.
            mixed: make the column one of bytes and seal no row: the model's type says
                ``accept_plaintext=True``, and rows are sealed later.
            scrub: afterwards rewrite the table, so that the old values are no longer in its files. It
                locks the table. The write-ahead log, the binary log and backups keep them.

            existing_plaintexts: the values really are the plaintexts, though ``existing_type`` reads what
                looks like another library's ciphertext, which is refused otherwise.

        Raises:
            ConfigurationError: the column cannot be sealed as it is, or the keyring is not configured.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        default = text_of(existing_server_default)
        options = Options(existing_nullable, default, rows, phase, mixed, scrub, existing_plaintexts)
        expect(type_, sealed=True, name="type_")
        expect(existing_type, sealed=False, name="existing_type")
        operations.invoke(cls(table_name, column_name, type_, existing_type, options, schema))

    @classmethod
    def batch_encrypt_column(
        cls, operations: BatchOperations, column_name: str, type_: EncryptedType, **options: Any
    ) -> None:
        """Seal a column at once, before the batch's other changes.

        Args:
            operations: Alembic's.
            column_name: the column.
            type_: the model's type.
            options: as for ``op.encrypt_column``.
        """
        (table, schema), whole = batch_table(operations), Operations(operations.migration_context)
        cls.encrypt_column(whole, table, column_name, type_, schema=schema, **options)

    def reverse(self) -> MigrateOperation:
        """Return the operation that opens the column again."""
        return DecryptColumnOp(*self.inverse())


@Operations.register_operation("decrypt_column")
@BatchOperations.register_operation("decrypt_column", "batch_decrypt_column")
class DecryptColumnOp(ConversionOp):
    """Open a sealed column for good."""

    @classmethod
    def decrypt_column(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        type_: TypeEngine[Any],
        *,
        existing_type: EncryptedType,
        existing_nullable: bool = True,
        server_default: Any = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        schema: str | None = None,
        phase: Phase = "all",
        scrub: bool = False,
    ) -> None:
        """Open a sealed column for good: its values are plain again, as they were before.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the column.
            type_: the type of the plain values.
            existing_type: the type under which the values are sealed.
            existing_nullable: whether the column takes NULL.
            server_default: the column's default from now on.
            tenant_column: the column that says whose row it is, as for ``op.encrypt_column``.
            tenant_type: that column's type, likewise.
            row_columns: the columns that identify a row, likewise.
            schema: the table's schema.
            phase: as for ``op.encrypt_column``.
            scrub: afterwards rewrite the table, as for ``op.encrypt_column``.

        Raises:
            ConfigurationError: the column cannot be opened as it is, or the keyring is not configured.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        options = Options(existing_nullable, text_of(server_default), rows, phase, scrub=scrub)
        expect(type_, sealed=False, name="type_")
        expect(existing_type, sealed=True, name="existing_type")
        operations.invoke(cls(table_name, column_name, type_, existing_type, options, schema))

    @classmethod
    def batch_decrypt_column(
        cls, operations: BatchOperations, column_name: str, type_: TypeEngine[Any], **options: Any
    ) -> None:
        """Open a sealed column at once, before the batch's other changes.

        Args:
            operations: Alembic's.
            column_name: the column.
            type_: the type of the plain values.
            options: as for ``op.decrypt_column``.
        """
        (table, schema), whole = batch_table(operations), Operations(operations.migration_context)
        cls.decrypt_column(whole, table, column_name, type_, schema=schema, **options)

    def reverse(self) -> MigrateOperation:
        """Return the operation that seals the column again."""
        sealed = self.existing_type
        mixed = isinstance(sealed, EncryptedType) and sealed.scheme.is_mixed
        return EncryptColumnOp(*self.inverse(mixed=mixed))


def text_of(default: Any) -> str | None:
    """Return the text of a default, as the database has it."""
    return None if default is None else str(getattr(default, "text", default))
