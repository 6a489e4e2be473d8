"""An UPDATE of many rows at once, and the way of running it that every database knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, Text, and_, bindparam, func, update
from sqlalchemy.types import NullType, TypeEngine, UserDefinedType

from sqlalchemy_cmk.databases.quoting import unused

Values = Sequence[Any]
Write = Callable[[Connection, Sequence[Values]], int]


class RawBytes(UserDefinedType[bytes]):
    """Bytes that are handed to the driver as they are."""

    # Not NullType, in whose place SQLAlchemy would put the column's own type.

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return PostgreSQL's name for it, the only database where a parameter's type is written out."""
        return "BYTEA"


@dataclass(frozen=True, slots=True)
class BatchUpdate:
    """Rows of one table, found by their primary keys, each changed only if it is still as it was read.

    A :data:`Write` takes the rows column by column: the key's columns, the guards' values, the new values.

    Attributes:
        table: the table.
        key: the columns of its primary key.
        guards: what must be as it was read; a text, or without a type the bytes that the driver gives.
        targets: the columns that are written.
        types: the types of the new values; :class:`RawBytes` for sealed ones.
        overwrites: whether a value that is there is replaced, or kept.
        reads_other_table: whether a guard is a query of another table.
    """

    table: Table
    key: tuple[Column[Any], ...]
    guards: Sequence[ColumnElement[Any]]
    targets: Sequence[Column[Any]]
    types: Sequence[TypeEngine[Any]]
    overwrites: bool
    reads_other_table: bool = False

    @property
    def writes_bytes_only(self) -> bool:
        """Whether every new value is sealed."""
        return all(isinstance(one, RawBytes) for one in self.types)

    @property
    def parameters(self) -> dict[str, TypeEngine[Any]]:
        """The types of the columns by name, those of the key, of old values and of new ones."""
        named: dict[str, TypeEngine[Any]] = {self.named("k", i): one.type for i, one in enumerate(self.key)}
        for i, guard in enumerate(self.guards):
            named[self.named("o", i)] = RawBytes() if isinstance(guard.type, NullType) else Text()
        return named | {self.named("n", i): one for i, one in enumerate(self.types)}

    def named(self, kind: str, number: int | str = "") -> str:
        """Return the name of a parameter: SQLAlchemy takes one that has a column's name for its new value."""
        return f"{unused('cmk_', self.table.c.keys())}{kind}{number}"

    def assigned(self, given: Mapping[str, Any]) -> dict[Any, Any]:
        """Return what the targets are set to, from the new values by name."""
        new = {target: given[self.named("n", i)] for i, target in enumerate(self.targets)}
        return new if self.overwrites else {target: func.coalesce(target, one) for target, one in new.items()}

    def same_row(self, given: Mapping[str, Any]) -> ColumnElement[bool]:
        """Return the criterion of the row that has a key."""
        return and_(*(one == given[self.named("k", i)] for i, one in enumerate(self.key)))

    def unchanged(self, given: Mapping[str, Any]) -> ColumnElement[bool]:
        """Return the criterion of a row that is still as it was read."""
        return and_(
            *(guard.is_not_distinct_from(given[self.named("o", i)]) for i, guard in enumerate(self.guards))
        )


def row_by_row(batch: BatchUpdate) -> Write:
    """Return the writer that any database takes: one statement with a set of parameters for each row."""
    given = {name: bindparam(name, type_=type_) for name, type_ in batch.parameters.items()}
    statement = update(batch.table).values(batch.assigned(given))
    statement = statement.where(batch.same_row(given), batch.unchanged(given))
    names = list(given)

    def write(connection: Connection, columns: Sequence[Values]) -> int:
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        changed = connection.execute(statement, rows).rowcount
        return changed if changed >= 0 else len(rows)

    return write
