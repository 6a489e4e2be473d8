"""Where the rows of SQL text carry sealed values, and what opens them. See :class:`ResultOpener`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.tenants import TenantSource
from sqlalchemy_cmk.dbapi.choosing import ChoosingOpener
from sqlalchemy_cmk.dbapi.fetching import Opens
from sqlalchemy_cmk.dbapi.parameters import Values
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.fetch import RowOpener, refuse_without_row
from sqlalchemy_cmk.hooks.positions import SealedPosition, find_positions
from sqlalchemy_cmk.sql import Output, Outputs, Path, Star
from sqlalchemy_cmk.sql.columns import Value, expanded, sealed_in
from sqlalchemy_cmk.sql.schema import columns_by_name

# Where rows carry sealed columns, where one of several that cannot be told, and which row a FROM stands for.
_Found = tuple[tuple[SealedPosition, ...], list[tuple[SealedPosition, ...]], dict[int, Path]]


class ResultOpener:
    """Opens the rows of one statement, by whatever way it is executed.

    Args:
        outputs: what the statement returns.
        dialect: of the database.
    """

    def __init__(self, outputs: Outputs, dialect: Dialect) -> None:
        self._outputs = outputs
        self._dialect = dialect
        self.returns_sealed = any(sealed_in(outputs))
        self._found: dict[tuple[str, ...], _Found] = {}

    def refuse_unbound(self) -> None:
        """Refuse, before it is sent, a statement that returns a row-bound column without its row.

        Raises:
            UnsupportedOperation: it does.
        """
        if self.returns_sealed:
            self._positions(tuple(one.name for one in expanded(self._outputs)), list(expanded(self._outputs)))

    def on(self, connection: Connection, names: Sequence[str], values: Values) -> Opens | None:
        """Return what opens the rows of one execution; ``None`` if there is nothing to open.

        Args:
            connection: where they come from.
            names: the names of the result's columns.
            values: those of the execution.

        Raises:
            UnsupportedOperation: the columns are not those that were expected, or a row-bound one is without
                its row.
        """
        if not self.returns_sealed:
            return None
        key = tuple(names)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._positions(key, self._outputs_named(key))
        positions, choices, paths = found

        def says(source: TenantSource, origin: Any) -> str | None:
            path = None if origin is None else paths.get(hash(origin))
            return None if path is None else values.tenant(path, source)

        opener = RowOpener(connection, positions, None, says) if positions else None
        if not choices:
            return opener
        among = [
            [RowOpener(connection, (position,), None, says) for position in positions]
            for positions in choices
        ]
        return ChoosingOpener(opener, choices, among)

    def _positions(self, names: tuple[str, ...], outputs: Sequence[Output]) -> _Found:
        values = [one.value for one in outputs]
        froms = _froms([one for one in (*values, *(v for o in outputs for v in o.among)) if one is not None])
        columns: dict[int, SealedColumn] = {}
        objects: list[tuple[Any, ...]] = []
        for index, value in enumerate(values):
            objects.append(
                () if value is None else (froms[value.path, value.column.table].c[value.column.key],)
            )
            if value is not None and value.sealed is not None:
                columns[index] = value.sealed
        positions = find_positions(columns, objects, self._dialect) if columns else ()
        for position in positions:
            if position.column.scheme.row_bound and position.identity_indexes is None:
                refuse_without_row(position)
        choices = [
            self._choices(index, [(one, froms[one.path, one.column.table]) for one in output.among], objects)
            for index, output in enumerate(outputs)
            if output.among
        ]
        return positions, choices, {hash(one): path for (path, _), one in froms.items()}

    def _choices(
        self, index: int, among: Sequence[tuple[Value, Any]], objects: Sequence[tuple[Any, ...]]
    ) -> tuple[SealedPosition, ...]:
        """Return a column of the rows as each of the sealed columns that it may be."""
        found: list[SealedPosition] = []
        for value, from_ in among:
            sealed = value.sealed
            if sealed is None or sealed.scheme.row_bound:
                raise UnsupportedOperation(
                    f"{value.column}: a row-bound column as one of several: select the column itself"
                )
            own = [*objects]
            own[index] = (from_.c[value.column.key],)
            found += find_positions({index: sealed}, own, self._dialect)
        return tuple(found)

    def _outputs_named(self, names: tuple[str, ...]) -> list[Output]:
        """Return what each column of a result is, by the names that the database gives them."""
        stars = [one for one in self._outputs if isinstance(one, Star)]
        wanted = list(expanded(self._outputs))
        if len(stars) == 1:
            wanted = []
            size = len(names) - len(self._outputs) + 1
            for one in self._outputs:
                if isinstance(one, Star):
                    part = names[len(wanted) : len(wanted) + max(size, 0)]
                    wanted += _of_row(one, [name.casefold() for name in part])
                else:
                    wanted.append(one)
        elif stars and [one.name for one in wanted] != [name.casefold() for name in names]:
            _refuse_columns()
        if len(wanted) != len(names):
            _refuse_columns()
        return wanted


def _of_row(star: Star, names: Sequence[str]) -> list[Output]:
    known = {} if star.table is None else dict(columns_by_name(star.table))
    if len(set(names)) != len(names):
        _refuse_columns()
    return [Output(name, Value(known[name], star.path) if name in known else None) for name in names]


def _froms(values: Sequence[Value]) -> dict[tuple[Path, Table], Any]:
    """Return a FROM for each row of a result: the table itself where it is there once."""
    paths = dict.fromkeys((one.path, one.column.table) for one in values)
    tables = [table for _, table in paths]
    return {(path, table): table if tables.count(table) == 1 else table.alias() for path, table in paths}


def _refuse_columns() -> None:
    raise UnsupportedOperation(
        "the result has other columns than the models say, or several of one name: name the "
        "columns instead of *"
    )
