"""A row of asyncpg whose sealed values were opened. See :class:`Record`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Record:
    """A row that is used as ``asyncpg.Record``, which cannot be made from Python.

    Args:
        indexes: where the columns are, by name.
        names: the names of all columns.
        values: what they hold.
    """

    __slots__ = ("_indexes", "_names", "_values")

    def __init__(self, indexes: Mapping[str, int], names: Sequence[str], values: tuple[Any, ...]) -> None:
        self._indexes = indexes
        self._names = names
        self._values = values

    def __getitem__(self, key: int | str | slice) -> Any:
        return self._values[self._indexes[key] if isinstance(key, str) else key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a column, or the default where the row has none of the name."""
        return self._values[self._indexes[key]] if key in self._indexes else default

    def keys(self) -> Iterator[str]:
        """Return the names of the columns."""
        return iter(self._names)

    def values(self) -> Iterator[Any]:
        """Return what the columns hold."""
        return iter(self._values)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return the names of the columns, each with what it holds."""
        return zip(self._names, self._values, strict=True)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._indexes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record):
            return self._values == other._values
        return self._values == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"<Record {' '.join(self._names)}>"  # what was opened is in no log


def as_records(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Record]:
    """Return opened rows as records."""
    indexes = {name: index for index, name in enumerate(names)}
    return [Record(indexes, names, row) for row in rows]
