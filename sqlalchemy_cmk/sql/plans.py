"""What has to be done for one statement of SQL text, kept by its text. See :class:`Plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table

from sqlalchemy_cmk.sql.columns import Outputs, Path
from sqlalchemy_cmk.sql.schema import sealed_of
from sqlalchemy_cmk.sql.text import SqlText
from sqlalchemy_cmk.sql.uses import Asked, Compared, Given


@dataclass(frozen=True, slots=True)
class Inserted:
    """The rows of an INSERT.

    Attributes:
        table: the table.
        columns: the columns that are listed.
        rows: what each row gives for them; ``None`` if the database computes it.
        names_end: where in the text further columns are added.
        row_ends: where further values of each row are added.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Given | None, ...], ...]
    names_end: int
    row_ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """What an UPDATE writes.

    Attributes:
        table: the table.
        alias: its name in the statement, where that is another.
        path: of its rows.
        written: what is given for each sealed column.
        target: where the table stands in the text.
        assignments: where further assignments are added.
        where: where the criteria stand in the text; ``None`` if there are none.
        end: where a WHERE clause is added, if there is none.
    """

    table: Table
    alias: str
    path: Path
    written: Mapping[Column[Any], Given]
    target: tuple[int, int]
    assignments: int
    where: tuple[int, int] | None
    end: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement that names a protected table.

    Attributes:
        text: the statement.
        outputs: what it returns; empty if it returns no rows.
        compared: the parameters that sealed columns are compared with, by number.
        asked: what search indexes are asked.
        equalities: what it says of the rows of each path.
        inserted: the rows of an INSERT that writes sealed columns.
        updated: what an UPDATE writes into sealed columns.
    """

    text: SqlText
    outputs: Outputs = ()
    compared: Mapping[int, Compared] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()
    equalities: Mapping[Path, list[tuple[Column[Any], Given]]] = field(default_factory=dict)
    inserted: Inserted | None = None
    updated: Updated | None = None

    @property
    def written(self) -> tuple[int, ...]:
        """The parameters that are written into sealed columns, by their numbers."""
        found: list[Given | None] = []
        if self.inserted is not None:
            sealed = [i for i, column in enumerate(self.inserted.columns) if sealed_of(column) is not None]
            found += [row[i] for row in self.inserted.rows for i in sealed]
        if self.updated is not None:
            found += self.updated.written.values()
        return tuple(one.number for one in found if one is not None and one.number is not None)
