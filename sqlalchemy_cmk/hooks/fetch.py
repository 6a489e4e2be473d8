"""Fetched rows: the sealed values of a batch are opened column by column, with their rows at hand.

Whose row it is, whether the scope agrees, whether the key's deadline has passed, and the row's identity are
checked once for a batch; then one loop opens a column's values. All state is in an object of the fetch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, CursorResult, Table
from sqlalchemy.engine.interfaces import Compiled

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import NO_IDENTITY, IdentityEncoder
from sqlalchemy_cmk.columns.processors import processor_with_keys
from sqlalchemy_cmk.columns.reading import Owners, reader_of
from sqlalchemy_cmk.columns.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.hooks.candidates import drop_candidates
from sqlalchemy_cmk.hooks.equality import rows_tenant
from sqlalchemy_cmk.hooks.positions import SealedPosition, nested_columns, sealed_positions
from sqlalchemy_cmk.hooks.redaction import redact_rows
from sqlalchemy_cmk.keys.binding.held_keys import Holders
from sqlalchemy_cmk.keys.dry_run import noting
from sqlalchemy_cmk.runtime.blocking import on_the_bridge
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant

# Rows whose values are opened together: their objects stay in the processor's cache meanwhile.
AT_ONCE = 500

Name = Callable[[Hashable], str | None]

# The execution option with what is known of the row whose columns a statement loads.
ROW_OPTION = "cmk_loaded_row"


@dataclass(frozen=True, slots=True)
class LoadedRow:
    """What is known of the one row that a statement of the ORM loads columns of.

    Attributes:
        tenant: its tenant; ``None`` if that is not loaded.
        tables: the tables that the row is in.
        identities: what its identity columns hold, by table.
    """

    tenant: str | None
    tables: frozenset[Table]
    identities: Mapping[Table, tuple[Any, ...]]


# Where the rows of a statement carry sealed values, and values with sealed ones inside.
_positions: WeakKeyDictionary[Compiled, tuple[tuple[SealedPosition, ...], Mapping[int, SealedColumn]]] = (
    WeakKeyDictionary()
)


def open_result(
    connection: Connection,
    statement: Any,
    multiparams: Any,
    params: Any,
    execution_options: Any,
    result: CursorResult[Any],
) -> None:
    """Have the rows of a result with sealed columns opened as they are fetched."""
    compiled = getattr(result.context, "compiled", None)
    if compiled is None or not result.returns_rows or private.returned_columns(compiled):
        return  # what INSERT, UPDATE and DELETE return is opened at the cursor
    found = _positions.get(compiled)
    if found is None:
        found = sealed_positions(result), nested_columns(result)
        if private.is_positional(result):
            _positions[compiled] = found
    positions, nested = found
    if nested:
        _lend_keys(connection, result, nested)
    if not positions:
        drop_candidates(connection, result, list, (), now=False)
        return
    loaded = execution_options.get(ROW_OPTION)
    if loaded is None:
        for position in positions:
            if position.column.scheme.row_bound and position.identity_indexes is None:
                if position.column.dry_run is None:
                    result.close()
                with noting(position.column.table.metadata):
                    refuse_without_row(position)
    if positions[0].column.dry_run is None:
        redact_rows(connection.engine)
        private.take_out_processors(result, tuple(position.index for position in positions))
    says = partial(rows_tenant, result.context)
    opener = RowOpener(result.context.root_connection, positions, loaded, says)
    # Under asyncio rows may be read outside of the bridge, where no key can be opened: open them now.
    now, sealed = on_the_bridge(), [position.index for position in positions]
    if not drop_candidates(connection, result, opener.open, sealed, now=now):
        private.open_fetched(result, opener.open, now=now)


def _lend_keys(connection: Connection, result: CursorResult[Any], nested: Mapping[int, SealedColumn]) -> None:
    """Give values inside others, such as an array's elements, the keys of the connection's database."""
    processors = private.result_processors(result)
    private.replace_processors(
        result,
        {
            index: processor_with_keys(processors[index], column.keys_on(connection))
            for index, column in nested.items()
            if processors[index] is not None and column.dry_run is None
        },
    )


class RowOpener:
    """Opens the sealed values of the rows of one fetch.

    Args:
        connection: where the rows come from.
        positions: where the rows carry sealed values.
        loaded: what is known of the one row that is loaded; ``None`` for other statements.
        says: returns the tenant that the statement's criteria name for the rows of a FROM, if any; ``None``
            stands for a FROM that a result column does not show.
    """

    def __init__(
        self,
        connection: Connection,
        positions: Sequence[SealedPosition],
        loaded: LoadedRow | None,
        says: Callable[[TenantSource, Any], str | None],
    ) -> None:
        self._says = says
        self._positions = positions
        self._loaded = loaded
        self._holders = Holders()
        self._readers = [reader_of(position.column, connection, self._holders) for position in positions]

    def open(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the raw rows of one batch with their sealed values opened."""
        if not rows:
            return rows
        names = [
            self._namer(position, reader.lenient)
            for position, reader in zip(self._positions, self._readers, strict=True)
        ]
        try:
            if len(rows) <= AT_ONCE:
                return self._open(rows, names)
            raw, opened = list(rows), []
            for start in range(0, len(raw), AT_ONCE):
                opened += self._open(raw[start : start + AT_ONCE], names)
            return opened
        finally:
            # A result may stay open for days between two batches.
            for reader in self._readers:
                reader.end()
            self._holders.let_go()

    def _open(self, rows: Sequence[Any], names: Sequence[Name]) -> list[Any]:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        known: dict[Any, list[bytes]] = {}  # row-bound columns of one row share its identity
        try:
            for position, reader, name in zip(self._positions, self._readers, names, strict=True):
                at = position.tenant_index
                owners = Owners(name, None if at is None else columns[at], self._row_says(position))
                identities = None
                if position.encode is not None and position.column.dry_run is None:
                    row = position.column.table, position.identity_indexes
                    if row not in known:
                        known[row] = self._identities(position, columns)
                    identities = known[row]
                columns[position.index] = reader.read(columns[position.index], owners, identities)
        except BaseException:
            columns.clear()  # a traceback's locals hold no opened value
            raise
        return list(zip(*columns, strict=True))

    def _namer(self, position: SealedPosition, lenient: bool) -> Name:
        """Return what names the owner of a position's values in one batch, agreed with the scope."""
        column, name = position.column, position.name
        if not position.is_tenants:
            return _platform
        if position.tenant_index is None:
            named = None
            with noting(column.table.metadata):
                named = self._named(position)
            return _once(lambda _: column.reading_owner(named, lenient))
        where = column.where
        return _once(lambda held: agreed_tenant(tenant, where) if (tenant := name(held)) else PLATFORM_TENANT)

    def _row_says(self, position: SealedPosition) -> bool:
        """Return whether a row itself says whose its value is; otherwise a scope or the statement does."""
        loaded = self._loaded_tenant(position) is not None
        return position.tenant_index is not None or loaded or not position.is_tenants

    def _loaded_tenant(self, position: SealedPosition) -> str | None:
        """Return the tenant of the row that is loaded, where a value is that row's own."""
        row, origin = self._loaded, position.origin
        own = row is not None and isinstance(origin, Table) and origin in row.tables
        return row.tenant if row is not None and own else None

    def _named(self, position: SealedPosition) -> str | None:
        """Return the tenant of the loaded row, or the one that the statement's WHERE clause names."""
        loaded = self._loaded_tenant(position)
        if loaded is not None:
            return loaded
        source = tenant_source(position.column.table)
        return None if source is None else self._says(source, position.origin)

    def _identities(self, position: SealedPosition, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        encode = position.encode
        if encode is None:
            refuse_without_row(position)
        if position.identity_indexes is not None:
            held = [
                values if read is None else list(map(read, values))
                for values, read in zip(
                    (columns[i] for i in position.identity_indexes), position.identity_readers, strict=True
                )
            ]
            return identities_read(encode, held)
        loaded = None if self._loaded is None else self._loaded.identities.get(position.column.table)
        if not loaded or any(one is None for one in loaded):
            refuse_without_row(position)
        return [encode(loaded)] * len(columns[0])


def identities_read(encode: IdentityEncoder, columns: Sequence[Sequence[Any]]) -> list[bytes]:
    """Return the row identities of fetched rows; one that opens nothing where a row has none.

    That is so in the rows of an outer join, where the value is NULL as well, and where somebody has written
    what does not fit into an identity column.
    """
    try:
        return encode.all(columns)
    except InvalidValue:
        return [_identity_read(encode, one) for one in zip(*columns, strict=True)]


def _identity_read(encode: IdentityEncoder, values: Sequence[Any]) -> bytes:
    try:
        return encode(values)
    except InvalidValue:
        return NO_IDENTITY


def refuse_without_row(position: SealedPosition) -> NoReturn:
    """Refuse to read a row-bound column without the columns of its row identity."""
    names = ", ".join(position.identity_names)
    raise UnsupportedOperation(
        f"{position.column.where} is row-bound and opens with its row identity: select {names} too"
    )


def _platform(_: Hashable) -> str:
    return PLATFORM_TENANT


def _once(name: Callable[[Hashable], str | None]) -> Callable[[Hashable], str | None]:
    """Return a function that remembers what it found, for the rows of one batch."""
    known: dict[Hashable, str | None] = {}

    def remembered(held: Hashable) -> str | None:
        if held not in known:
            known[held] = name(held)
        return known[held]

    return remembered
