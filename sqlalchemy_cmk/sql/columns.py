"""What the columns of a query are: a column of a table's row, or something else. See :class:`Source`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, Table

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.sql.refusals import refuse_text
from sqlalchemy_cmk.sql.schema import columns_by_name, is_protected, sealed_of

# Which row a value is of: the names through which a query reaches its table.
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A column of a row of a table.

    Attributes:
        column: the table's column.
        path: which row: values of one path are of the same row.
    """

    column: Column[Any]
    path: Path

    @property
    def sealed(self) -> SealedColumn | None:
        """What the column is, if it is sealed."""
        return sealed_of(self.column)


@dataclass(frozen=True, slots=True)
class Output:
    """One column that a query returns.

    Attributes:
        name: its name without case; empty if the database makes one.
        value: the column of a row that it is; ``None`` for all else.
        among: the sealed columns of which it is one, where it cannot be told which; else empty.
    """

    name: str
    value: Value | None
    among: tuple[Value, ...] = ()

    @property
    def sealed(self) -> SealedColumn | None:
        """The sealed column that it is, or the first of those that it may be; if any."""
        value = self.among[0] if self.among else self.value
        return None if value is None else value.sealed


@dataclass(frozen=True, slots=True)
class Star:
    """All columns of one row, however many the database has.

    Attributes:
        table: the table; ``None`` if nothing is known of what has the columns.
        path: which row.
    """

    table: Table | None
    path: Path

    def outputs(self) -> Iterator[Output]:
        """Yield the columns as they are declared."""
        for name, column in () if self.table is None else columns_by_name(self.table):
            yield Output(name, Value(column, self.path))


Outputs = Sequence[Output | Star]


@dataclass(frozen=True, slots=True)
class Source:
    """What a query selects from, under one name.

    Attributes:
        name: the name without case.
        outputs: its columns.
        table: the table, where it is one that is declared.
    """

    name: str
    outputs: Outputs
    table: Table | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it may have columns of any name."""
        return any(isinstance(one, Star) and one.table is None for one in self.outputs)

    @property
    def is_protected(self) -> bool:
        """Whether it is a protected table, or has a column of one that is sealed."""
        return (self.table is not None and is_protected(self.table)) or any(sealed_in(self.outputs))

    def find(self, name: str) -> tuple[bool, Value | None]:
        """Return whether it has a column of a name, and what that is.

        Raises:
            UnsupportedOperation: several columns have the name, and one of them is sealed.
        """
        found = [one for one in expanded(self.outputs) if one.name == name]
        if len(found) > 1 and any(one.sealed is not None for one in found):
            refuse_text(f"{self.name} has several columns called {name}")
        return bool(found), found[0].value if found else None


def expanded(outputs: Outputs) -> Iterator[Output]:
    """Yield the columns of a query with every ``*`` as it is declared."""
    for one in outputs:
        if isinstance(one, Star):
            yield from one.outputs()
        else:
            yield one


def sealed_in(outputs: Outputs) -> Iterator[SealedColumn]:
    """Yield the sealed columns that a query returns."""
    for one in expanded(outputs):
        if one.sealed is not None:
            yield one.sealed


def renamed(outputs: Outputs, names: Sequence[str]) -> Outputs:
    """Return the columns of a query under the names that its alias gives them: ``AS t(a, b)``."""
    if not names:
        return outputs
    if any(isinstance(one, Star) for one in outputs) or len(names) > len(outputs):
        refuse_text("an alias names the columns of a *: name the columns in the SELECT")
    columns = [one for one in outputs if isinstance(one, Output)]
    return [
        *(replace(one, name=name) for one, name in zip(columns, names, strict=False)),
        *columns[len(names) :],
    ]


def united(left: Outputs, right: Outputs, number: int, *, may_mix: bool = False) -> Outputs:
    """Return the columns of a UNION of two queries.

    Args:
        left: the columns of the first, which have the names.
        right: those of the second.
        number: which UNION of the statement it is.
        may_mix: whether a column may hold values of several sealed columns.

    Raises:
        UnsupportedOperation: a column would hold values of two columns, and one of them is sealed; or both
            are, and it may not.
    """
    if not any(sealed_in(left)) and not any(sealed_in(right)):
        return left
    ours, theirs = list(left), list(right)
    if any(isinstance(one, Star) for one in (*ours, *theirs)) or len(ours) != len(theirs):
        refuse_text("a UNION with a * over a table with sealed columns: name the columns")
    return [_both(one, other, number, may_mix) for one, other in zip(ours, theirs, strict=True)]


def _both(one: Any, other: Any, number: int, may_mix: bool) -> Output:
    if one.value is not None and other.value is not None and one.value.column is other.value.column:
        return Output(one.name, Value(one.value.column, _path(number, one.value, other.value)))
    if one.sealed is None and other.sealed is None:
        return Output(one.name, None)
    ours, theirs = _choices(one), _choices(other)
    if not may_mix or not ours or not theirs:
        named = (one.sealed or other.sealed).where
        refuse_text(f"a UNION gives values of {named} and of something else in one column")
    path = _path(number, ours[0], theirs[0])
    columns = dict.fromkeys(value.column for value in (*ours, *theirs))
    return Output(one.name, None, tuple(Value(column, path) for column in columns))


def _path(number: int, one: Value, other: Value) -> Path:
    return ("union", str(number), *one.path, "and", *other.path)


def _choices(output: Output) -> tuple[Value, ...]:
    """Return the sealed columns of one row that a column of a result may be; empty for anything else."""
    if output.among:
        return output.among if len({one.path for one in output.among}) == 1 else ()
    return () if output.value is None or output.sealed is None else (output.value,)
