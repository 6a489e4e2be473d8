"""Fetched rows: before a value is opened its key is checked against the tenant of its row.

A sealed value moved into another tenant's row would open under its own DEK, and show one tenant's data to
another. The raw rows of every result with sealed columns pass here: expired keys are taken out, missing
ones are opened, and each DEK must belong to the tenant that the row names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter, methodcaller
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ClauseElement, Connection, CursorResult, Label, SelectBase, Table
from sqlalchemy.engine.cursor import ResultFetchStrategy
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import TenantRequired
from sqlalchemy_cmk.keys.blocking import on_the_bridge
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.redaction import redact_rows
from sqlalchemy_cmk.orm.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.scope import PLATFORM_TENANT, current_tenant, tenant_name
from sqlalchemy_cmk.sealing import HEADER_BYTES
from sqlalchemy_cmk.types import EncryptedType

OWNER_OPTION = "cmk_row_tenant"
NO_HEADER = b""


@dataclass(frozen=True, slots=True)
class SealedPosition:
    """Where a result carries a sealed column, where the tenant of its row, and what reads its name."""

    column: SealedColumn
    index: int
    tenant_index: int | None
    name: Callable[[Any], str]


_positions: WeakKeyDictionary[Compiled, tuple[SealedPosition, ...]] = WeakKeyDictionary()


def check_result(
    connection: Connection,
    statement: Any,
    multiparams: Any,
    params: Any,
    execution_options: Any,
    result: CursorResult[Any],
) -> None:
    """Have the rows of a result with sealed columns checked as they are fetched."""
    compiled = getattr(result.context, "compiled", None)
    if compiled is None or not result.returns_rows:
        return
    positions = _positions.get(compiled)
    if positions is None:
        positions = _positions[compiled] = sealed_positions(compiled)
    if not positions:
        return
    redact_rows(connection.engine)
    owner = execution_options.get(OWNER_OPTION)
    # Under asyncio rows may be read outside of the bridge, where no key can be opened: open them now.
    buffered = private.buffer_rows(result) if on_the_bridge() else None
    checked = CheckedFetch(buffered or result.cursor_strategy, positions, owner)
    result.cursor_strategy = checked
    if buffered is not None:
        checked.check(private.buffered_rows(buffered))
        return
    for position in positions:
        position.column.strangers.clear()


def sealed_positions(compiled: Compiled) -> tuple[SealedPosition, ...]:
    """Find the sealed columns of a compiled statement's result, each with its row's tenant column."""
    entries = private.result_columns(compiled)
    found = []
    for index, (objects, type_) in enumerate(entries):
        if isinstance(type_, EncryptedType) and type_.place is not None:
            table = type_.place.column.table
            source = tenant_source(table) if isinstance(table, Table) else None
            tenant_index = None if source is None else _tenant_index(source, table, objects, entries)
            name = tenant_name if source is None else source.reader(compiled.dialect)
            found.append(SealedPosition(type_.place, index, tenant_index, name))
    return tuple(found)


def _tenant_index(
    source: TenantSource,
    table: Any,
    objects: tuple[Any, ...],
    entries: Sequence[tuple[tuple[Any, ...], Any]],
) -> int | None:
    origins = {id(one.table) for one in objects if getattr(one, "table", None) is not None}
    origins = origins or _origin_of_expression(objects)
    base: list[int] = []
    for index, (others, _) in enumerate(entries):
        for other in map(_unlabelled, others):
            if not _is_tenant_column(other, source):
                continue
            if id(other.table) in origins:
                return index
            if other.table is source.table and table is not source.table:
                base.append(index)
                break
    return base[0] if len(base) == 1 else None


def _origin_of_expression(objects: tuple[Any, ...]) -> set[int]:
    """Return the table whose columns an expression is made of, if it is one and no subquery's."""
    parts = [part for one in objects if isinstance(one, ClauseElement) for part in iterate(one)]
    found = {id(part.table) for part in parts if getattr(part, "table", None) is not None}  # type: ignore[attr-defined]
    alone = len(found) == 1 and not any(isinstance(part, SelectBase) for part in parts)
    return found if alone else set()


def _unlabelled(one: Any) -> Any:
    return one.element if isinstance(one, Label) else one


def _is_tenant_column(other: Any, source: TenantSource) -> bool:
    # A column of an alias or a subquery derives from the table's own; .base_columns leads back to it.
    return getattr(other, "table", None) is not None and source.column in getattr(other, "base_columns", ())


class CheckedFetch(ResultFetchStrategy):
    """Passes on another strategy's rows once they are checked."""

    __slots__ = ("_inner", "_owner", "_positions")

    def __init__(
        self, inner: ResultFetchStrategy, positions: tuple[SealedPosition, ...], owner: str | None
    ) -> None:
        self._inner = inner
        self._positions = positions
        self._owner = owner

    @property
    def alternate_cursor_description(self) -> Any:  # type: ignore[override]
        """The inner strategy's."""
        return self._inner.alternate_cursor_description

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        """Pass on."""
        self._inner.soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        """Pass on."""
        self._inner.hard_close(result, dbapi_cursor)

    def yield_per(self, result: Any, dbapi_cursor: Any, num: int) -> None:
        """Pass on; the inner strategy may put another in its place."""
        self._inner.yield_per(result, dbapi_cursor, num)
        if result.cursor_strategy is not self:
            self._inner = result.cursor_strategy
            result.cursor_strategy = self

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """Fetch one row and check it."""
        row = self._inner.fetchone(result, dbapi_cursor, hard_close)
        if row is not None:
            self.check((row,))
        return row

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """Fetch some rows and check them."""
        return self.check(self._inner.fetchmany(result, dbapi_cursor, size))

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """Fetch all rows and check them."""
        return self.check(self._inner.fetchall(result, dbapi_cursor))

    def handle_exception(self, result: Any, dbapi_cursor: Any, err: BaseException) -> Any:
        """Pass on."""
        return self._inner.handle_exception(result, dbapi_cursor, err)

    def check(self, rows: Any) -> Any:
        """Check raw rows and return them."""
        if rows:
            for position in self._positions:
                position.column.keyring.opened.sweep()
                position.column.refusals.clear()
                if not self._all_of_one(position, rows):
                    self._each(position, rows)
        return rows

    def _all_of_one(self, position: SealedPosition, rows: Any) -> bool:
        """Tell whether all rows are one tenant's and all values under its open DEKs: the usual case, fast."""
        owner = self._owner_of_all(position, rows)
        headers = position.column.headers.get(owner) if owner is not None else None
        if not headers:
            return False
        sealed_here = methodcaller("startswith", headers)
        try:
            return all(map(sealed_here, filter(None, map(itemgetter(position.index), rows))))
        except (AttributeError, TypeError):
            return False

    def _owner_of_all(self, position: SealedPosition, rows: Any) -> str | None:
        if not position.column.has_tenant:
            return PLATFORM_TENANT
        scope = current_tenant()
        if position.tenant_index is None:
            return scope if self._owner in (None, scope) else self._owner if scope is None else None
        owners = set(map(itemgetter(position.tenant_index), rows))
        if len(owners) != 1:
            return None
        owner = _name(position, owners.pop())
        return owner if scope in (None, owner) else None

    def _each(self, position: SealedPosition, rows: Any) -> None:
        """Open the keys of every value and check each against its row."""
        column, index, tenant_index = position.column, position.index, position.tenant_index
        pairs: set[tuple[Any, bytes]] = set()
        for row in rows:
            stored = row[index]
            owner = self._owner if tenant_index is None else row[tenant_index]
            if isinstance(stored, bytes | bytearray | memoryview):
                pairs.add((owner, bytes(stored[:HEADER_BYTES])))
            elif stored is not None:
                pairs.add((owner, NO_HEADER))
        for owner, header in pairs:
            tenant = column.opened(header)
            known = owner if tenant_index is None else _name(position, owner)
            if tenant is not None:
                column.check_owner(tenant, header[1:], known)
            elif column.accept_plaintext:
                column.check_plain(known)


def _name(position: SealedPosition, raw: Any) -> str:
    try:
        return position.name(raw)
    except (TenantRequired, LookupError, ValueError):
        return PLATFORM_TENANT
