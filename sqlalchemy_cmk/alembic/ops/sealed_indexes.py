"""``op.create_sealed_index``, ``op.drop_sealed_index``, ``op.rebuild_sealed_index``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.alembic.ops.base import ColumnOp, expect
from sqlalchemy_cmk.alembic.ops.undo import NothingToUndoOp
from sqlalchemy_cmk.alembic.rows import PLATFORM, TableRows
from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.job import GivenRowColumns, TenantColumn
from sqlalchemy_cmk.rekey.job import row_columns as identity
from sqlalchemy_cmk.runtime.kinds import described, named

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sqlalchemy_cmk.columns.type import EncryptedType

Phase = Literal["all", "expand", "fill"]
RebuildPhase = Literal["all", "fill", "finish"]


class SealedIndexOp(ColumnOp):
    """An operation on one search index of one sealed column."""

    function: str
    phases: tuple[str, ...] = ("all",)

    def __init__(
        self,
        table_name: str,
        column_name: str,
        index: SearchIndex | None,
        existing_type: EncryptedType | None = None,
        *,
        rows: TableRows = PLATFORM,
        phase: str = "all",
        schema: str | None = None,
    ) -> None:
        super().__init__(table_name, column_name, schema)
        self.index = index
        self.existing_type = existing_type
        self.rows = rows
        self.phase = phase

    @classmethod
    def _invoke(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        index: SearchIndex,
        existing_type: EncryptedType | None,
        rows: TableRows,
        phase: str,
        schema: str | None,
    ) -> None:
        if not isinstance(index, SearchIndex):
            raise ConfigurationError(
                f"op.{cls.function} takes an index, such as Exact(), not {described(index)}"
            )
        if existing_type is not None:
            expect(existing_type, sealed=True, name="existing_type")
        if phase not in cls.phases:
            raise ConfigurationError(f"phase is one of {', '.join(cls.phases)}, not {named(phase)}")
        operations.invoke(
            cls(table_name, column_name, index, existing_type, rows=rows, phase=phase, schema=schema)
        )

    def _turned(self, kind: type[SealedIndexOp]) -> SealedIndexOp:
        return kind(
            self.table_name,
            self.column_name,
            self.index,
            self.existing_type,
            rows=self.rows,
            schema=self.schema,
        )


@Operations.register_operation("create_sealed_index")
class CreateSealedIndexOp(SealedIndexOp):
    """Make a search index."""

    function = "create_sealed_index"
    phases = ("all", "expand", "fill")

    @classmethod
    def create_sealed_index(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        index: SearchIndex,
        *,
        existing_type: EncryptedType | None = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        phase: Phase = "all",
        schema: str | None = None,
    ) -> None:
        """Make a search index of a sealed column: its hidden column, each row's token, the index over them.

        It works while the application runs, in two steps that may be migrations of their own: ``expand`` adds
        the column, into which processes write that know the index; ``fill`` makes the tokens of all rows, and
        opens the index to questions. From ``fill`` on, processes that do not know the index may not write
        the column: deploy the version that declares it between the two.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the sealed column.
            index: the index, as the model declares it.
            existing_type: the type under which the values are sealed; by default as the table of sealed
                columns or the model says.
            tenant_column: the column that says whose row it is, as for ``op.encrypt_column``.
            tenant_type: that column's type, likewise.
            row_columns: the columns that identify a row, likewise.
            phase: which part is done.
            schema: the table's schema.

        Raises:
            ConfigurationError: the column is not known as a sealed one, an index with other options is
                there, or the values of a unique index are not unique.
            KeyUnavailable: the KEKs of some tenants refuse or cannot be reached.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        cls._invoke(operations, table_name, column_name, index, existing_type, rows, phase, schema)

    def reverse(self) -> MigrateOperation:
        """Return the operation that drops it."""
        return self._turned(DropSealedIndexOp)


@Operations.register_operation("drop_sealed_index")
class DropSealedIndexOp(SealedIndexOp):
    """Drop a search index."""

    function = "drop_sealed_index"

    @classmethod
    def drop_sealed_index(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        index: SearchIndex,
        *,
        existing_type: EncryptedType | None = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        schema: str | None = None,
    ) -> None:
        """Drop a search index and its tokens; it takes twenty seconds, until no process asks or writes it.

        Processes whose models declare it go on, and refuse its questions. Run it before the version is
        deployed that does not declare it any more: that may not write the column while the index is there.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the sealed column.
            index: the index.
            existing_type: as for ``op.create_sealed_index``, as are the others.
            tenant_column: likewise.
            tenant_type: likewise.
            row_columns: likewise.
            schema: the table's schema.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        cls._invoke(operations, table_name, column_name, index, existing_type, rows, "all", schema)

    def reverse(self) -> MigrateOperation:
        """Return the operation that makes it."""
        return self._turned(CreateSealedIndexOp)


@Operations.register_operation("rebuild_sealed_index")
class RebuildSealedIndexOp(SealedIndexOp):
    """Make the tokens of a search index again, under new keys."""

    function = "rebuild_sealed_index"
    phases = ("all", "fill", "finish")

    @classmethod
    def rebuild_sealed_index(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        index: SearchIndex,
        *,
        existing_type: EncryptedType | None = None,
        tenant_column: TenantColumn | None = None,
        tenant_type: TypeEngine[Any] | None = None,
        row_columns: GivenRowColumns = None,
        phase: RebuildPhase = "all",
        schema: str | None = None,
    ) -> None:
        """Make the tokens of an index again, under other DEKs of each tenant, while the application runs.

        The index answers all the time. ``cmk rekey indexes --rotate`` does it for every index, and retires
        the old DEKs.

        Args:
            operations: Alembic's.
            table_name: the table.
            column_name: the sealed column.
            index: the index, as it is: its options do not change.
            existing_type: as for ``op.create_sealed_index``, as are the others.
            tenant_column: likewise.
            tenant_type: likewise.
            row_columns: likewise.
            phase: ``"fill"`` makes the new tokens and asks them from then on; ``"finish"`` drops the old.
            schema: the table's schema.
        """
        rows = TableRows(tenant_column, tenant_type, identity(row_columns))
        cls._invoke(operations, table_name, column_name, index, existing_type, rows, phase, schema)

    def reverse(self) -> MigrateOperation:
        """Return the operation that does nothing: tokens under any keys find the same rows."""
        return NothingToUndoOp("the index finds the same rows under any keys")
