"""The operations that make and drop the key tables."""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.alembic.configuration import DEFAULT_PREFIX
from sqlalchemy_cmk.runtime.kinds import text


class _KeyTablesOp(MigrateOperation):
    name: str

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        text("the prefix of the key tables' names").require("prefix", prefix)
        self.prefix = prefix

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return self.name, self.prefix


@Operations.register_operation("create_key_tables")
class CreateKeyTablesOp(_KeyTablesOp):
    """Make the key tables."""

    name = "create_key_tables"

    @classmethod
    def create_key_tables(cls, operations: Operations, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Make the key tables that are missing, as the installed version of the library has them.

        Args:
            operations: Alembic's.
            prefix: the prefix of their names, the keyring's ``table_prefix``.
        """
        operations.invoke(cls(prefix))

    def reverse(self) -> MigrateOperation:
        """Return the operation that drops them."""
        return DropKeyTablesOp(self.prefix)


@Operations.register_operation("drop_key_tables")
class DropKeyTablesOp(_KeyTablesOp):
    """Drop the key tables."""

    name = "drop_key_tables"

    @classmethod
    def drop_key_tables(cls, operations: Operations, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Drop the key tables, and with them every DEK: what is still sealed never opens again.

        Args:
            operations: Alembic's.
            prefix: as for ``op.create_key_tables``.
        """
        operations.invoke(cls(prefix))

    def reverse(self) -> MigrateOperation:
        """Return the operation that makes them, empty."""
        return CreateKeyTablesOp(self.prefix)
