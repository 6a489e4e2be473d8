"""Names of tables and columns, kept in their parts: a name may hold a dot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Column

from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.printable import printable

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


class ColumnName(NamedTuple):
    """A column's name in its parts."""

    schema: str | None
    table: str
    column: str

    @classmethod
    def of(cls, column: Column[object]) -> ColumnName:
        """Return the name of a column that belongs to a table."""
        return cls(column.table.schema, column.table.name, column.name)

    @property
    def of_table(self) -> tuple[str | None, str]:
        """The table's part."""
        return self.schema, self.table

    def __str__(self) -> str:
        return printable(".".join(filter(None, self)))


def refuse_unprintable(names: Iterable[str]) -> None:
    """Refuse names of columns and tables that no migration can show on one line.

    Raises:
        ConfigurationError: a name holds a control character or a line separator.
    """
    for name in names:
        if not name.isprintable():
            raise ConfigurationError(
                f"the name '{printable(name)}' holds a character that cannot be printed: a table or column "
                "with sealed values cannot have it"
            )


def refuse_doubled_percents(context: MigrationContext, names: Iterable[str]) -> None:
    """Refuse names that the script of ``--sql`` would hold with each percent sign doubled.

    Raises:
        ConfigurationError: a name holds one, and ``env.py`` leaves the driver's parameter style as it is.
    """
    if context.as_sql and Quoting(context.dialect).doubles_percents:
        for name in names:
            if "%" in name:
                raise ConfigurationError(
                    f"{printable(name)}: --sql would write its percent sign twice; add "
                    'dialect_opts={"paramstyle": "named"} to context.configure() in env.py'
                )
