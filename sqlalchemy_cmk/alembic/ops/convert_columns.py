"""``op.encrypt_columns`` and ``op.decrypt_columns``: rows are copied once for several columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.ops.base import TableOp, expect
from sqlalchemy_cmk.alembic.ops.convert import (
    ConversionOp,
    DecryptColumnOp,
    EncryptColumnOp,
    Options,
    Phase,
    text_of,
)
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.job import GivenRowColumns, TenantColumn
from sqlalchemy_cmk.rekey.job import row_columns as identity
from sqlalchemy_cmk.runtime.kinds import Kind

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

MAPPING = Kind((Mapping,), "a mapping by the columns' names")


class ConversionsOp(TableOp):
    """The conversions of several columns of one table.

    Attributes:
        conversions: each column's, with the same rows, phase and scrubbing.
    """

    kind: type[ConversionOp]

    def __init__(self, conversions: Sequence[ConversionOp]) -> None:
        super().__init__(conversions[0].table_name, conversions[0].schema)
        self.conversions = tuple(conversions)

    @classmethod
    def _of(
        cls,
        table_name: str,
        types: Mapping[str, Any],
        existing_types: Mapping[str, Any],
        nullable: Mapping[str, bool] | None,
        defaults: Mapping[str, Any] | None,
        shared: Options,
        schema: str | None,
    ) -> Self:
        """Return the conversions of some columns: each has its own types beside what all share."""
        for name, given in (("types", types), ("existing_types", existing_types)):
            MAPPING.require(name, given)
        MAPPING.or_none.require("existing_nullable", nullable)
        MAPPING.or_none.require("server_defaults", defaults)
        seals, nullable, defaults = cls.kind is EncryptColumnOp, nullable or {}, defaults or {}
        unknown = {*nullable, *defaults} - set(types)
        if unknown:
            raise ConfigurationError(f"the columns {', '.join(sorted(unknown))} have no type in types")
        for name, one in types.items():
            expect(one, sealed=seals, name=f"types[{name!r}]")
        for name, one in existing_types.items():
            expect(one, sealed=not seals, name=f"existing_types[{name!r}]")
        if not types or set(types) != set(existing_types):
            raise ConfigurationError(
                f"{table_name}: types and existing_types name the same columns, and at least one"
            )
        conversions = []
        for name, type_ in types.items():
            own = replace(shared, nullable=nullable.get(name, True), default=text_of(defaults.get(name)))
            conversions.append(cls.kind(table_name, name, type_, existing_types[name], own, schema))
        return cls(conversions)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return (*super().to_diff_tuple(), *(one.column_name for one in self.conversions))


@Operations.register_operation("encrypt_columns")
class EncryptColumnsOp(ConversionsOp):
    """Seal columns of one table that hold plain values."""

    kind = EncryptColumnOp

    @classmethod
    def encrypt_columns(
        cls,
        operations: Operations,
        table_name: str,
        types: Mapping[str, EncryptedType],
        *,
        existing_types: Mapping[str, TypeEngine[Any]],
        existing_nullable: Mapping[str, bool] | None = None,
        existing_server_defaults: Mapping[str, Any] | None = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        existing_plaintexts: bool = False,
        schema: str | None = None,
        phase: Phase = "all",
        scrub: bool = False,
    ) -> None:
        """Seal columns of one table that hold plain values, and copy its rows once for all of them.

        Args:
            operations: Alembic's.
            table_name: the table.
            types: by column the model's type, as for ``op.encrypt_column``.
            existing_types: by column the type of the plain values.
            existing_nullable: by column whether it takes NULL; those that are left out do.
            existing_server_defaults: by column its default in the database, if it has one.
            tenant_column: the column that says whose row it is, as for ``op.encrypt_column``.
            tenant_type: that column's type, likewise.
            row_columns: the columns that identify a row, likewise.
            existing_plaintexts: the values really are the plaintexts, likewise.
            schema: the table's schema.
            phase: as for ``op.encrypt_column``.
            scrub: afterwards rewrite the table, likewise.

        Raises:
            ConfigurationError: a column cannot be sealed as it is, or the keyring is not configured.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        shared = Options(rows=rows, phase=phase, scrub=scrub, plaintexts=existing_plaintexts)
        given = types, existing_types, existing_nullable, existing_server_defaults
        operations.invoke(cls._of(table_name, *given, shared, schema))

    def reverse(self) -> DecryptColumnsOp:
        """Return the operation that opens the columns again."""
        return DecryptColumnsOp([DecryptColumnOp(*one.inverse()) for one in self.conversions])


@Operations.register_operation("decrypt_columns")
class DecryptColumnsOp(ConversionsOp):
    """Open sealed columns of one table for good."""

    kind = DecryptColumnOp

    @classmethod
    def decrypt_columns(
        cls,
        operations: Operations,
        table_name: str,
        types: Mapping[str, TypeEngine[Any]],
        *,
        existing_types: Mapping[str, EncryptedType],
        existing_nullable: Mapping[str, bool] | None = None,
        server_defaults: Mapping[str, Any] | None = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        schema: str | None = None,
        phase: Phase = "all",
        scrub: bool = False,
    ) -> None:
        """Open sealed columns of one table for good, and copy its rows once for all of them.

        Args:
            operations: Alembic's.
            table_name: the table.
            types: by column the type of the plain values.
            existing_types: by column the type under which the values are sealed.
            existing_nullable: by column whether it takes NULL; those that are left out do.
            server_defaults: by column its default from now on, if it has one.
            tenant_column: the column that says whose row it is, as for ``op.encrypt_column``.
            tenant_type: that column's type, likewise.
            row_columns: the columns that identify a row, likewise.
            schema: the table's schema.
            phase: as for ``op.encrypt_column``.
            scrub: afterwards rewrite the table, likewise.

        Raises:
            ConfigurationError: a column cannot be opened as it is, or the keyring is not configured.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        shared = Options(rows=rows, phase=phase, scrub=scrub)
        given = types, existing_types, existing_nullable, server_defaults
        operations.invoke(cls._of(table_name, *given, shared, schema))

    def reverse(self) -> EncryptColumnsOp:
        """Return the operation that seals the columns again."""
        return EncryptColumnsOp([EncryptColumnOp(*one.inverse()) for one in self.conversions])
