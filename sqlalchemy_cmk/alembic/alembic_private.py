"""Reaches what Alembic has no public way to: one small function each.

``tests/databases/test_alembic_private.py`` fails when an upstream release changes what they stand on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations import BatchOperations, Operations


def rendered_type(type_: TypeEngine[Any], autogen_context: AutogenContext) -> str:
    """Return a type as Alembic writes it into a migration, cut out of a column's text."""
    from alembic.autogenerate import render_op_text
    from alembic.operations.ops import AddColumnOp

    marked: Column[Any] = Column("__cmk__", type_)
    text = render_op_text(autogen_context, AddColumnOp("t", marked))
    return text.partition("'__cmk__', ")[2].removesuffix(", nullable=True))")


def batch_table(operations: BatchOperations) -> tuple[str, str | None]:
    """Return the name and the schema of the table of ``batch_alter_table``."""
    return operations.impl.table_name, operations.impl.schema


def write_comment(operations: Operations, text: str) -> None:
    """Write a comment into the script of ``--sql``."""
    operations.migration_context.impl.static_output(f"-- {text}")
