"""What a database's catalogue says of a table: :class:`StoredTable`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table, or a materialized view, that a database holds.

    Attributes:
        schema: its schema, as the catalogue has it.
        name: its name.
        is_default: whether its name means this table without the schema.
        bytes_columns: the columns that hold bytes.
        text_columns: the columns that may hold bytes as text, or in a structure.
        size: its size in bytes, as far as it is known.
        is_sampled: whether the database can pick pages of it at random.
    """

    schema: str
    name: str
    is_default: bool
    bytes_columns: tuple[str, ...]
    text_columns: tuple[str, ...]
    size: int
    is_sampled: bool = False

    @property
    def full_name(self) -> str:
        """The schema and the name."""
        return f"{self.schema}.{self.name}"
