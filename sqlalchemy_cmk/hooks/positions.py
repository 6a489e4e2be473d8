"""Where a result carries sealed values, the tenants of their rows, and their row identities.

Whatever SQLAlchemy would open by a type's result processor is found by that processor, however the statement
came about: entities, text with columns in any order, functions with a sealed type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    CursorResult,
    Dialect,
    Integer,
    Label,
    Numeric,
    SelectBase,
    Table,
    Uuid,
)
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import IdentityEncoder, identity_of
from sqlalchemy_cmk.columns.nesting import sealed_inside
from sqlalchemy_cmk.columns.processors import column_of_processor
from sqlalchemy_cmk.columns.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import TenantRequired
from sqlalchemy_cmk.scope import PLATFORM_TENANT, tenant_name

Read = Callable[[Any], Any] | None
Objects = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class SealedPosition:
    """One sealed column of a result.

    Attributes:
        column: the sealed column.
        is_tenants: whether its values belong to tenants, not to the platform.
        index: where the rows carry its values.
        origin: the FROM that the values come from, where it is one.
        tenant_index: where the rows carry the tenant column; ``None`` if they do not.
        name: the tenant's name for what the tenant column holds, ``""`` where that names none.
        identity_indexes: where the rows carry the identity columns; ``None`` if they do not.
        identity_readers: what turns raw values of those into Python values; ``None`` if nothing has to.
        identity_names: the names of the identity columns.
        encode: makes a row identity of their values.
    """

    column: SealedColumn
    is_tenants: bool
    index: int
    origin: Any
    tenant_index: int | None
    name: Callable[[Any], str]
    identity_indexes: tuple[int, ...] | None
    identity_readers: tuple[Read, ...]
    identity_names: tuple[str, ...]
    encode: IdentityEncoder | None


def sealed_positions(result: CursorResult[Any]) -> tuple[SealedPosition, ...]:
    """Find the sealed columns of a result, those that others are bound to first."""
    found = {
        index: column
        for index, processor in enumerate(private.result_processors(result))
        if (column := column_of_processor(processor)) is not None
    }
    return find_positions(found, private.result_objects(result), result.dialect) if found else ()


def nested_columns(result: CursorResult[Any]) -> dict[int, SealedColumn]:
    """Find the columns of a result whose values have sealed ones inside, such as arrays of them."""
    found = {}
    for index, type_ in enumerate(private.result_types(result)):
        inner = None if isinstance(type_, EncryptedType) else sealed_inside(type_)
        column = getattr(inner, "sealed_column", None)
        if column is not None:
            found[index] = column
    return found


def find_positions(
    columns: Mapping[int, SealedColumn], objects: Objects, dialect: Dialect
) -> tuple[SealedPosition, ...]:
    """Return where rows carry sealed columns, those that others are bound to first.

    Args:
        columns: the sealed columns by where the rows carry them.
        objects: the columns and labels that each column of the rows stands for.
        dialect: the database's.
    """
    positions = [_position(column, index, objects, dialect) for index, column in columns.items()]
    return tuple(sorted(positions, key=lambda one: one.column.scheme.row_bound))


def _position(column: SealedColumn, index: int, objects: Objects, dialect: Dialect) -> SealedPosition:
    table, own = column.table, objects[index]
    origins = _origins(own)
    origin = next(iter(origins.values())) if len(origins) == 1 else None
    source = tenant_source(table) if column.is_tenants else None
    tenant_index = None if source is None else _tenant_index(source, table, origins, own, objects)
    name = _named(tenant_name if source is None else source.reader(dialect))
    if not column.scheme.row_bound:
        return SealedPosition(
            column, source is not None, index, origin, tenant_index, name, None, (), (), None
        )
    identity = identity_of(table)
    indexes = [_index_of(one, origins, own, objects) for one in identity.columns]
    known = tuple(one for one in indexes if one is not None)
    return SealedPosition(
        column,
        source is not None,
        index,
        origin,
        tenant_index,
        name,
        known if len(known) == len(indexes) else None,
        tuple(_reader(one, dialect) for one in identity.columns),
        identity.keys,
        identity.encoder(),
    )


def _named(name: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a function that gives ``""`` for what names no tenant, as in the rows of an outer join."""

    def read(held: Any) -> str:
        try:
            return name(held)
        except (TenantRequired, LookupError, ValueError):
            return PLATFORM_TENANT

    return read


def _reader(column: Column[Any], dialect: Dialect) -> Read:
    if isinstance(column.type, EncryptedType):
        return None  # it is opened already
    if isinstance(column.type, Integer | Numeric | Uuid):
        return None  # these identify a row in any form; SQLAlchemy's processor of a Numeric asks for its type
    return column.type.dialect_impl(dialect).result_processor(dialect, None)


def _origins(objects: tuple[Any, ...]) -> dict[int, Any]:
    """Return the FROMs of a result column: of the column itself, or of all columns in an expression.

    They are known by their hash: the ORM's annotated copies have that of the original.
    """
    found = {hash(one.table): one.table for one in objects if getattr(one, "table", None) is not None}
    if found:
        return found
    parts = [part for one in objects if isinstance(one, ClauseElement) for part in iterate(one)]
    if any(isinstance(part, SelectBase) for part in parts):
        return {}
    tables = [part.table for part in parts if getattr(part, "table", None) is not None]  # type: ignore[attr-defined]
    found = {hash(table): table for table in tables}
    return found if len(found) == 1 else {}


def _tenant_index(
    source: TenantSource, table: Table, origins: dict[int, Any], own: tuple[Any, ...], objects: Objects
) -> int | None:
    index = _index_of(source.column, origins, own, objects)
    if index is not None or table is source.table:
        return index
    # Under joined inheritance the base table's row is the same one, if the result has it once.
    base = [
        at
        for at, others in enumerate(objects)
        if any(
            _is_column(one, source.column) and one.table is source.table for one in map(unlabelled, others)
        )
    ]
    return base[0] if len(base) == 1 else None


def _index_of(
    column: Column[Any], origins: dict[int, Any], own: tuple[Any, ...], objects: Objects
) -> int | None:
    """Return where a result carries a column of the same row as another, whose own objects are given."""
    sources = _sources(own)
    for index, others in enumerate(objects):
        for one in map(unlabelled, others):
            same_from = _is_column(one, column) and hash(one.table) in origins
            if same_from and sources is not None and sources == _sources((one,)):
                return index
    return None


def _sources(objects: tuple[Any, ...]) -> frozenset[int] | None:
    """Return the subqueries and aliases through which a column of a result comes; ``None`` for several ways.

    In a subquery over two aliases of a table each has a row of its own. Tables are left out: under joined
    inheritance a row is in two of them.
    """
    columns = [one for one in map(unlabelled, objects) if getattr(one, "table", None) is not None][:1]
    if not columns:
        parts = [part for one in objects if isinstance(one, ClauseElement) for part in iterate(one)]
        columns = [part for part in parts if getattr(part, "table", None) is not None]
    ways = {
        frozenset(hash(part.table) for part in one.proxy_set if _is_derived(getattr(part, "table", None)))
        for one in columns
    }
    return ways.pop() if len(ways) == 1 else None


def _is_derived(table: Any) -> bool:
    return table is not None and not isinstance(table, Table)


def _is_column(one: Any, column: Column[Any]) -> bool:
    # A column of an alias or a subquery derives from the table's own; .base_columns leads back to it.
    return getattr(one, "table", None) is not None and column in getattr(one, "base_columns", ())


def unlabelled(one: Any) -> Any:
    """Return what a label is of; anything else as it is."""
    return one.element if isinstance(one, Label) else one
