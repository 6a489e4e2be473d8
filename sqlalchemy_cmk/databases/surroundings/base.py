"""The contract of :class:`Surroundings`, and what holds for every database."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    BINARY,
    VARBINARY,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    Time,
    Uuid,
    select,
)

# The triggers of a conversion begin so.
OWN_TRIGGERS = "zz_cmk_"


class Surroundings:
    """What a database has around a table; every answer is a predicate of it or a sentence.

    Attributes:
        key_types: the types of key columns by whose values a row is found again.
        odd_key_types: those of them that are refused all the same.
    """

    key_types: ClassVar[tuple[type[Any], ...]] = (
        Integer,
        String,
        Uuid,
        Boolean,
        Date,
        DateTime,
        Time,
        Numeric,
        LargeBinary,
        BINARY,
        VARBINARY,
    )
    odd_key_types: ClassVar[tuple[type[Any], ...]] = (Float,)

    def odd_key(self, connection: Connection, table: Table) -> str:
        """Return why rows are not found again by their primary key; ``""`` where they are.

        Args:
            connection: to the database.
            table: the table, reflected.
        """
        for column in table.primary_key:
            type_: Any = column.type
            stored = getattr(type_, "data_type", type_)  # of a domain
            if not isinstance(stored, self.key_types) or isinstance(stored, self.odd_key_types):
                return f"has the column {column.name} of type {stored!r} in its primary key: {_GIVE_ANOTHER}"
            what = self._odd_values(connection, table, column)
            if what:
                return f"holds {what} in {column.name} of its primary key: {_GIVE_ANOTHER}"
        return ""

    def obstacle(self, connection: Connection, table: Table, column: str, made: str) -> str:
        """Return why a column cannot take values of a type; ``""`` where it can.

        Args:
            connection: to the database.
            table: the table.
            column: the column's name.
            made: the type, as the database writes it.
        """
        return ""

    def triggers(self, connection: Connection, table: Table) -> list[str]:
        """Return the names of the application's triggers that an UPDATE of the table runs."""
        return []

    def copies(self, connection: Connection, table: Table) -> list[str]:
        """Return sentences, each naming what keeps copies of the table's values.

        Args:
            connection: to the database.
            table: the table.
        """
        return [
            f"The trigger {name} runs for every row that is rewritten, and sees its plain value. What it "
            "writes elsewhere stays there: disable it meanwhile, or clear what it fills."
            for name in self.triggers(connection, table)
        ]

    def _odd_values(self, connection: Connection, table: Table, column: Column[Any]) -> str:
        """Return what values of a key column are not read as they are stored; ``""`` where all are."""
        return ""


_GIVE_ANOTHER = "a row is not found again by what the driver reads of it; give the table another key first"


def has_row(connection: Connection, table: Table, criterion: ColumnElement[bool]) -> bool:
    """Return whether a row meets a criterion."""
    return connection.execute(select(1).select_from(table).where(criterion).limit(1)).first() is not None
