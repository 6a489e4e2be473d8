"""The operations on sealed columns: what a migration says. What they do is in :mod:`.columns`.

``op.encrypt_column`` and ``op.decrypt_column`` are each other's inverse, and so are
``op.register_sealed_column`` and ``op.unregister_sealed_column``; ``op.reencrypt`` from one type to another
is undone by itself with the types exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from alembic.operations import BatchOperations, MigrateOperation, Operations

from sqlalchemy_cmk.alembic.tenants import PLATFORM, Tenancy
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.types import EncryptedType

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

Phase = Literal["all", "expand", "copy", "swap"]
PHASES = ("all", "expand", "copy", "swap")


class ColumnOp(MigrateOperation):
    """An operation on one column, and the comments that autogenerate puts above it."""

    def __init__(self, table_name: str, column_name: str, schema: str | None) -> None:
        self.table_name = table_name
        self.column_name = column_name
        self.schema = schema
        self.comments: list[str] = []

    @property
    def fullname(self) -> str:
        """The table's name with its schema."""
        return f"{self.schema}.{self.table_name}" if self.schema else self.table_name

    @property
    def where(self) -> str:
        """``table.column``, for messages."""
        return f"{self.fullname}.{self.column_name}"

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return type(self).__name__, self.schema, self.table_name, self.column_name


class ConversionOp(ColumnOp):
    """What sealing and opening a column have in common."""

    def __init__(
        self,
        table_name: str,
        column_name: str,
        type_: TypeEngine[Any],
        existing_type: TypeEngine[Any],
        *,
        existing_nullable: bool = True,
        default: Any = None,
        tenancy: Tenancy = PLATFORM,
        schema: str | None = None,
        phase: Phase = "all",
        mixed: bool = False,
        scrub: bool = False,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        if phase not in PHASES:
            raise ConfigurationError(f"phase is one of {', '.join(PHASES)}, not {phase!r}")
        self.type_ = type_
        self.existing_type = existing_type
        self.existing_nullable = existing_nullable
        self.default = default
        self.tenancy = tenancy
        self.phase = phase
        self.mixed = mixed
        self.scrub = scrub

    @property
    def options(self) -> dict[str, Any]:
        """The options that the inverse has too."""
        return {
            "existing_nullable": self.existing_nullable,
            "default": self.default,
            "tenancy": self.tenancy,
            "schema": self.schema,
        }


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
        tenant_column: str | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        schema: str | None = None,
        phase: Phase = "all",
        mixed: bool = False,
        scrub: bool = False,
    ) -> None:
        """Seal a column that holds plain values.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the column.
            type_: the model's type; without a ``context`` values are bound to ``table.column``.
            existing_type: the type of the plain values, as the database has it.
            existing_nullable: whether the column takes NULL.
            existing_server_default: the column's default in the database. A sealed column has none;
                ``downgrade`` puts it back.
            tenant_column: the column that tells whose row it is; ``"base.clinic_id"`` where that is in the
                base table of joined inheritance; ``None`` for rows of the platform.
            tenant_type: that column's type where the database's own does not give the same values, as with a
                UUID that is kept as text.
            schema: the table's schema.
            phase: ``"all"``, or one of ``"expand"``, ``"copy"``, ``"swap"`` in migrations of their own.
            mixed: make the column one of bytes and seal no row: the model's type says
                ``accept_plaintext=True``, and rows are sealed at leisure.
            scrub: afterwards write the table anew, so that the old values are no longer in its files. It
                locks the table. The write-ahead log, the binary log and backups keep them.

        Raises:
            ConfigurationError: the column cannot be sealed as it is, or the keyring is not configured.
        """
        options = _options(
            existing_nullable, existing_server_default, Tenancy(tenant_column, tenant_type), schema
        )
        options |= {"phase": phase, "mixed": mixed, "scrub": scrub}
        _expect(type_, sealed=True, name="type_")
        _expect(existing_type, sealed=False, name="existing_type")
        operations.invoke(cls(table_name, column_name, type_, existing_type, **options))

    @classmethod
    def batch_encrypt_column(
        cls,
        operations: BatchOperations,
        column_name: str,
        type_: EncryptedType,
        *,
        existing_type: TypeEngine[Any],
        existing_nullable: bool = True,
        existing_server_default: Any = None,
        tenant_column: str | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        phase: Phase = "all",
        mixed: bool = False,
        scrub: bool = False,
    ) -> None:
        """Seal a column at once, before the batch's other changes."""
        cls.encrypt_column(
            Operations(operations.migration_context),
            operations.impl.table_name,
            column_name,
            type_,
            existing_type=existing_type,
            existing_nullable=existing_nullable,
            existing_server_default=existing_server_default,
            tenant_column=tenant_column,
            tenant_type=tenant_type,
            schema=operations.impl.schema,
            phase=phase,
            mixed=mixed,
            scrub=scrub,
        )

    def reverse(self) -> MigrateOperation:
        """Return the operation that opens the column again."""
        return DecryptColumnOp(
            self.table_name, self.column_name, self.existing_type, self.type_, **self.options
        )


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
        tenant_column: str | None = None,
        tenant_type: TypeEngine[Any] | None = None,
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
            tenant_column: the column that tells whose row it is.
            tenant_type: that column's type, as for ``op.encrypt_column``.
            schema: the table's schema.
            phase: as for ``op.encrypt_column``.
            scrub: afterwards write the table anew, as for ``op.encrypt_column``.

        Raises:
            ConfigurationError: the column cannot be opened as it is, or the keyring is not configured.
        """
        options = _options(existing_nullable, server_default, Tenancy(tenant_column, tenant_type), schema)
        _expect(type_, sealed=False, name="type_")
        _expect(existing_type, sealed=True, name="existing_type")
        operations.invoke(
            cls(table_name, column_name, type_, existing_type, **options, phase=phase, scrub=scrub)
        )

    @classmethod
    def batch_decrypt_column(
        cls,
        operations: BatchOperations,
        column_name: str,
        type_: TypeEngine[Any],
        *,
        existing_type: EncryptedType,
        existing_nullable: bool = True,
        server_default: Any = None,
        tenant_column: str | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        phase: Phase = "all",
        scrub: bool = False,
    ) -> None:
        """Open a sealed column at once, before the batch's other changes."""
        cls.decrypt_column(
            Operations(operations.migration_context),
            operations.impl.table_name,
            column_name,
            type_,
            existing_type=existing_type,
            existing_nullable=existing_nullable,
            server_default=server_default,
            tenant_column=tenant_column,
            tenant_type=tenant_type,
            schema=operations.impl.schema,
            phase=phase,
            scrub=scrub,
        )

    def reverse(self) -> MigrateOperation:
        """Return the operation that seals the column again."""
        mixed = getattr(self.existing_type, "accept_plaintext", False)
        return EncryptColumnOp(
            self.table_name, self.column_name, self.existing_type, self.type_, **self.options, mixed=mixed
        )


def _options(nullable: bool, default: Any, tenancy: Tenancy, schema: str | None) -> dict[str, Any]:
    return {
        "existing_nullable": nullable,
        "default": None if default is None else str(getattr(default, "text", default)),
        "tenancy": tenancy,
        "schema": schema,
    }


def _expect(type_: Any, *, sealed: bool, name: str) -> None:
    if isinstance(type_, EncryptedType) is not sealed:
        wanted = "an EncryptedType" if sealed else "the type of the plain values"
        raise ConfigurationError(f"{name} is {wanted}, not {type_!r}")
