"""What rows of one statement write into the hidden columns of search indexes. See :class:`RowTokens`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Null, Table, bindparam
from sqlalchemy.sql import ClauseElement

from sqlalchemy_cmk.columns.asking import hidden_beside
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.compounds import Combination, CompoundIndex, compound_indexes
from sqlalchemy_cmk.columns.index_slots import Slot, slots_of, unknown_index
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.columns.token_columns import TokenIndex, TokenType, attach_second, token_indexes
from sqlalchemy_cmk.columns.tokens import TokenWriter
from sqlalchemy_cmk.errors import KeyUnavailable, UnsupportedOperation
from sqlalchemy_cmk.hooks.values import MISSING, Row, known_value
from sqlalchemy_cmk.keys.binding.held_keys import Holders
from sqlalchemy_cmk.keys.dry_run import dry_run_of
from sqlalchemy_cmk.keys.indexes.catalogue import IndexCatalogue
from sqlalchemy_cmk.keys.indexes.records import IndexView


class RowTokens:
    """Makes the tokens that stand beside the sealed values of one statement's rows.

    Args:
        table: the table.
        connection: where the statement runs.
        holders: what the statement holds of its keys.

    Attributes:
        compounds: the table's indexes over several columns; none in a dry run.
    """

    def __init__(self, table: Table, connection: Connection, holders: Holders) -> None:
        self._table = table
        self._columns = sealed_columns(table)
        # In a dry run values are not sealed, and have no tokens.
        self._is_dry = dry_run_of(table.metadata) is not None
        self._indexes = {} if self._is_dry else token_indexes(table)
        self.compounds: tuple[CompoundIndex, ...] = () if self._is_dry else compound_indexes(table)
        self._connection = connection
        self._holders = holders
        self._view: IndexView | None = None
        self._writers: dict[Slot, TokenWriter] = {}

    def is_indexed(self, key: str) -> bool:
        """Return whether tokens are written beside a column's values."""
        return bool(self._indexes.get(key))

    def write(self, key: str, rows: Sequence[Row], values: Sequence[Any], owner: str) -> None:
        """Put tokens of values into the parameters of their rows.

        Args:
            key: the sealed column.
            rows: the parameters of each row, changed in place.
            values: the Python value of each row.
            owner: whose rows they are.

        Raises:
            UnsupportedOperation: the database has an index of the column that this process does not know.
        """
        for slot in self._slots(key):
            tokens, hidden = self._writer(slot).of_all(values, owner), slot.key
            for row, token in zip(rows, tokens, strict=True):
                row[hidden] = token

    def elements(self, key: str, value: Any, owner: str, params: Row) -> dict[str, Any]:
        """Return what ``values()`` writes beside a value, by the keys of the hidden columns.

        Args:
            key: the sealed column.
            value: a Python value, a bound parameter, or SQL that copies a sealed column.
            owner: whose row it is.
            params: the execution's parameters, before they are sealed.

        Raises:
            UnsupportedOperation: SQL that copies a column without an equal index; or as :meth:`write`.
        """
        return {
            slot.key: element
            for slot in self._slots(key)
            if (element := self._element(slot, value, owner, params)) is not None
        }

    def write_together(
        self, one: CompoundIndex, rows: Sequence[Row], values: Sequence[Combination], owner: str
    ) -> None:
        """Put tokens of several columns' values into the parameters of their rows.

        Args:
            one: the index over these columns.
            rows: the parameters of each row, changed in place.
            values: those of each row.
            owner: whose rows they are.

        Raises:
            UnsupportedOperation: a value is ``Sealed``.
        """
        for key, tokens in self._together(one, values, owner):
            for row, token in zip(rows, tokens, strict=True):
                row[key] = token

    def elements_together(self, one: CompoundIndex, values: Combination, owner: str) -> dict[str, Any]:
        """Return what ``values()`` writes for the values of several columns; raises as above."""
        return {
            key: bindparam(None, tokens[0], type_=TokenType(one.index, token_index=one), unique=True)
            for key, tokens in self._together(one, (values,), owner)
        }

    def slots_together(self, one: CompoundIndex) -> list[Slot]:
        """Return the hidden columns of an index over several columns that are written."""
        return self._written((one,), self._seen(one.sealed))

    def _together(
        self, one: CompoundIndex, values: Sequence[Combination], owner: str
    ) -> Iterator[tuple[str, list[Any]]]:
        if any(type(part) is Sealed for row in values for part in row.values):
            raise UnsupportedOperation(
                f"{one.where}: a Sealed value has no token for {one.named}: leave all of its columns out, so "
                "that they keep their values"
            )
        whole = [None if row.has_null else row for row in values]
        for slot in self.slots_together(one):
            yield slot.key, self._writer(slot).of_all(whole, owner)

    def _slots(self, key: str) -> Iterable[Slot]:
        if self._is_dry:
            return ()
        view = self._seen(self._columns[key])
        if view.by_table:
            self._refuse_unknown(key, view)
        return self._written(self._indexes.get(key, ()), view)

    def _seen(self, column: SealedColumn) -> IndexView:
        view = self._view
        if view is None:
            view = self._view = self._looked_up(column.keys_on(self._connection, writes=True).indexes)
        return view

    def _written(self, indexes: Iterable[TokenIndex], view: IndexView) -> list[Slot]:
        found = [slot for one in indexes for slot in slots_of(one, view).written]
        for slot in found:
            if slot.number:
                attach_second(slot.index)
        return found

    def _looked_up(self, catalogue: IndexCatalogue) -> IndexView:
        """Return the indexes of the database, also where the model declares none: it may be an old version.

        An outage of the key tables keeps nobody from writing who has no index.
        """
        try:
            return catalogue.view()
        except KeyUnavailable:
            if self._indexes or self.compounds:
                raise
        return catalogue.last_view

    def _refuse_unknown(self, key: str, view: IndexView) -> None:
        column = self._columns[key]
        over = [one for one in self.compounds if column in one.columns]
        known = {hidden for one in (*self._indexes.get(key, ()), *over) for hidden in one.keys}
        unknown = unknown_index(column, known, view)
        if unknown is not None:
            raise UnsupportedOperation(
                f"{column.where} has the search index {unknown.name!r} in the database, which the model of "
                "this process does not declare: what it wrote would not be found. Deploy the version that "
                "declares it, or drop it with op.drop_sealed_index"
            )

    def _element(self, slot: Slot, value: Any, owner: str, params: Row) -> Any:
        one = slot.index
        element = value.__clause_element__() if hasattr(value, "__clause_element__") else value
        if isinstance(element, ClauseElement) and not isinstance(element, BindParameter | Null):
            copied = None if self._view is None else hidden_beside(element, slot, self._view)
            if copied is None:
                raise UnsupportedOperation(
                    f"{one.sealed.where}: what is copied has no tokens for the index {one.index.suffix!r}: "
                    "give the value itself, or declare an equal index on the other column"
                )
            return copied
        known = known_value(element, params)
        if known is MISSING:
            return None
        token = self._writer(slot).of_all((known,), owner)[0]
        return bindparam(None, token, type_=TokenType(one.index, token_index=one), unique=True)

    def _writer(self, slot: Slot) -> TokenWriter:
        writer = self._writers.get(slot)
        if writer is None:
            sealed: SealedColumn = slot.index.sealed
            keys = self._holders[sealed.keys_on(self._connection, writes=True)]
            writer = self._writers[slot] = TokenWriter(slot, keys)
        return writer
