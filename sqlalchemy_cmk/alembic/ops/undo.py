"""What ``downgrade`` says where an operation on keys has no inverse: nothing to do, or a refusal."""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.runtime.kinds import text


@Operations.register_operation("nothing_to_undo")
class NothingToUndoOp(MigrateOperation):
    """A downgrade that has nothing to do."""

    def __init__(self, reason: str) -> None:
        text("a text that says why").require("reason", reason)
        self.reason = reason

    @classmethod
    def nothing_to_undo(cls, operations: Operations, reason: str) -> None:
        """Say in ``downgrade`` why there is nothing to do: what was done serves the older schema too.

        Args:
            operations: Alembic's.
            reason: why; it is logged.
        """
        operations.invoke(cls(reason))

    def reverse(self) -> MigrateOperation:
        """Return the same."""
        return self

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return "nothing_to_undo", self.reason


@Operations.register_operation("refuse_downgrade")
class RefuseDowngradeOp(MigrateOperation):
    """A downgrade that is refused."""

    def __init__(self, reason: str) -> None:
        text("a text that says why").require("reason", reason)
        self.reason = reason

    @classmethod
    def refuse_downgrade(cls, operations: Operations, reason: str) -> None:
        """Refuse a downgrade: what was done cannot be undone.

        Args:
            operations: Alembic's.
            reason: why.

        Raises:
            UnsupportedOperation: always.
        """
        operations.invoke(cls(reason))

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return "refuse_downgrade", self.reason
