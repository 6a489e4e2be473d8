"""What the operations on tables and on columns have in common."""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.kinds import described, text
from sqlalchemy_cmk.runtime.printable import printable


class TableOp(MigrateOperation):
    """An operation on a table, and the comments that autogenerate puts above it."""

    def __init__(self, table_name: str, schema: str | None) -> None:
        text("the name of a table").require("table_name", table_name)
        text("the name of a schema").or_none.require("schema", schema)
        self.table_name = table_name
        self.schema = schema
        self.comments: list[str] = []

    @property
    def where(self) -> str:
        """What it works on, for messages."""
        return printable(".".join(filter(None, (self.schema, self.table_name))))

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return type(self).__name__, self.schema, self.table_name


class ColumnOp(TableOp):
    """An operation on one column."""

    def __init__(self, table_name: str, column_name: str, schema: str | None) -> None:
        super().__init__(table_name, schema)
        text("the name of a column").require("column_name", column_name)
        self.column_name = column_name

    @property
    def name(self) -> ColumnName:
        """The column."""
        return ColumnName(self.schema, self.table_name, self.column_name)

    @property
    def where(self) -> str:
        """``table.column``, for messages."""
        return str(self.name)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return (*super().to_diff_tuple(), self.column_name)


def expect(type_: Any, *, sealed: bool, name: str) -> None:
    """Check that an argument is the type of a sealed column, or of a plain one.

    Raises:
        ConfigurationError: it is not.
    """
    if isinstance(type_, EncryptedType) is not sealed:
        wanted = "an EncryptedType" if sealed else "the type of the plain values"
        given = repr(type_) if isinstance(type_, TypeEngine) else described(type_)
        raise ConfigurationError(f"{name} is {wanted}, not {given}")
