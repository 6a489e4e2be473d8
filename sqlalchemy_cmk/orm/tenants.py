"""Where a table's rows tell their tenant: in a column of their own, or in the row of a base table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Enum,
    String,
    Table,
    Uuid,
    and_,
    false,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.column import TENANT_INFO_KEY, SealedColumn
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.orm.columns import MYSQL, exactly, python_type_of
from sqlalchemy_cmk.scope import tenant_name
from sqlalchemy_cmk.types import EncryptedType

MODEL_ATTRIBUTE = "__cmk_tenant__"
_LOOKUP = 200

Identity = tuple[Any, ...]


@dataclass(frozen=True)
class TenantSource:
    """The tenant column of a table's rows.

    Attributes:
        rows: the table whose rows they are.
        column: the tenant column; its table is another one under joined inheritance.
        keys: the table's own columns that identify its row there, in the order of that primary key.
    """

    rows: Table
    column: Column[Any]
    keys: tuple[Column[Any], ...]

    @property
    def table(self) -> Table:
        """The table that holds the tenant column."""
        return self.column.table

    def name(self, value: object) -> str:
        """Return the tenant's name for a value of the column, one name for all forms of a value.

        Raises:
            TenantRequired: it names no tenant.
        """
        return name_in(self.column.type, value)

    def reader(self, dialect: Dialect) -> Callable[[Any], str]:
        """Return :meth:`name` for values as the driver gives them."""
        processor = self.column.type.dialect_impl(dialect).result_processor(dialect, None)
        return self.name if processor is None else lambda raw: self.name(processor(raw))


def name_in(type_: TypeEngine[Any], value: object) -> str:
    """Return the tenant's name for a value of a tenant column of some type; see :meth:`TenantSource.name`."""
    if isinstance(value, str) and isinstance(type_, CHAR):
        value = value.rstrip(" ")  # databases pad it, or take the padding away
    elif isinstance(value, str) and isinstance(type_, Uuid):
        with suppress(ValueError):
            value = UUID(value)
    return tenant_name(value)


_sealed_columns: WeakKeyDictionary[Table, tuple[int, dict[str, SealedColumn]]] = WeakKeyDictionary()


def sealed_columns(table: Table) -> dict[str, SealedColumn]:
    """Return the sealed columns of a table by their keys.

    Raises:
        ConfigurationError: the database would write a value of its own into one of them.
    """
    known = _sealed_columns.get(table)
    if known is None or known[0] != len(table.columns):
        found = {
            column.key: column.type.place
            for column in table.columns
            if isinstance(column.type, EncryptedType) and column.type.place is not None
        }
        for place in found.values():
            _refuse_computed(place)
        known = _sealed_columns[table] = len(table.columns), found
    return known[1]


def _refuse_computed(place: SealedColumn) -> None:
    column = place.column
    own = [one for one in (column.default, column.onupdate) if one is not None]
    if (
        column.server_default is not None
        or column.server_onupdate is not None
        or not all(one.is_scalar or one.is_callable for one in own)
    ):
        raise ConfigurationError(
            f"{place.where}: the database would write its default or computed value unsealed: "
            "give the column a Python default instead"
        )


def tenant_source(table: Table) -> TenantSource | None:
    """Return where the rows of a table tell their tenant; ``None`` where they belong to the platform.

    A table without a model names its tenant column in ``info={"cmk_tenant": "column"}``.
    """
    info = table.info.get(TENANT_INFO_KEY)
    if info is None:
        return None
    if isinstance(info, str):
        if info not in table.c:
            raise ConfigurationError(
                f"{table.fullname}: info names the tenant column {info!r}, which is not there"
            )
        info = TenantSource(table, table.c[info], tuple(table.primary_key))
    elif info.rows is not table:
        info = _copied(info, table)
    table.info[TENANT_INFO_KEY] = info
    return cast(TenantSource, info)


def _copied(source: TenantSource, table: Table) -> TenantSource:
    """Return where a copy made by ``Table.to_metadata``, which copies ``info``, tells its tenants."""
    holder = table if source.table is source.rows else table.metadata.tables.get(source.table.key)
    if holder is None:
        raise ConfigurationError(
            f"{table.fullname} is a copy whose tenant column is in {source.table.fullname}: copy that too"
        )
    keys = tuple(table.c[str(column.key)] for column in source.keys)
    return TenantSource(table, holder.c[str(source.column.key)], keys)


def note_tenant_column(mapper: Mapper[Any], model: type[Any]) -> None:
    """Note on a new model's tables which column ``__cmk_tenant__`` names."""
    name = getattr(model, MODEL_ATTRIBUTE, None)
    if name is None:
        return
    column = mapper.columns.get(name)
    if column is None or not isinstance(column.table, Table):
        raise ConfigurationError(
            f"{model.__name__}.{MODEL_ATTRIBUTE} names {name!r}, which is no column of the model"
        )
    if isinstance(column.type, EncryptedType):
        raise ConfigurationError(f"{model.__name__}.{name}: the tenant column cannot itself be sealed")
    for table in mapper.tables:
        if isinstance(table, Table) and TENANT_INFO_KEY not in table.info:
            table.info[TENANT_INFO_KEY] = TenantSource(table, column, _keys(mapper, table, column.table))


def _keys(mapper: Mapper[Any], table: Table, holder: Table) -> tuple[Column[Any], ...]:
    if table is holder:
        return tuple(table.primary_key)
    keys: list[Column[Any]] = []
    for primary in holder.primary_key:
        columns = mapper.get_property_by_column(primary).columns
        keys += [column for column in columns if isinstance(column, Column) and column.table is table][:1]
    if len(keys) != len(holder.primary_key.columns):
        raise ConfigurationError(
            f"{table.fullname}: its rows cannot be matched to their tenant in {holder.fullname}"
        )
    return tuple(keys)


def owners_in_database(
    connection: Connection, source: TenantSource, rows: Iterable[Identity]
) -> dict[Identity, str]:
    """Read the tenants of rows from their table, in the caller's own transaction.

    Args:
        rows: primary keys of ``source.table``.
    """
    wanted = list(dict.fromkeys(rows))
    found: dict[Identity, str] = {}
    for start in range(0, len(wanted), _LOOKUP):
        found |= _owners(connection, source, wanted[start : start + _LOOKUP])
    # A database may hold keys for equal that Python does not: '7' and 7, 'a' and 'A'.
    for identity in [one for one in wanted if one not in found]:
        for owner in _owners(connection, source, [identity]).values():
            found[identity] = owner
    return found


def _owners(connection: Connection, source: TenantSource, rows: list[Identity]) -> dict[Identity, str]:
    primary = list(source.table.primary_key)
    criteria: ColumnElement[bool]
    if len(primary) == 1:
        criteria = primary[0].in_([row[0] for row in rows])
    else:
        criteria = or_(*(and_(*(c == v for c, v in zip(primary, row, strict=True))) for row in rows))
    found = connection.execute(select(source.column, *primary).where(criteria))
    return {tuple(row[1:]): source.name(row[0]) for row in found}


def rows_of(
    column: ColumnElement[Any], type_: TypeEngine[Any], tenant: str, dialect: Dialect
) -> ColumnElement[bool]:
    """Return the criterion for a tenant's rows, whatever the collation of their tenant column.

    Args:
        column: the tenant column.
        type_: its type in the model, where that differs from the column's own.
        tenant: the tenant's name, as :func:`name_in` gives it.
        dialect: the database's.
    """
    value = _as_stored(tenant, type_)
    if value is None:
        return false()
    same: ColumnElement[bool] = type_coerce(column, type_) == value
    if isinstance(type_, Enum) or not isinstance(type_, String):
        return same
    # The first finds an index, the second tells 'acme' from 'ACME'.
    return and_(same, exactly(column, dialect) == (value.encode() if dialect.name in MYSQL else value))


def _as_stored(tenant: str, type_: TypeEngine[Any]) -> Any:
    """Return a tenant's name as the value of its column; ``None`` where no row can hold it."""
    kind = python_type_of(type_)
    if kind is int:
        return int(tenant) if tenant.removeprefix("-").isdecimal() else None
    if kind is UUID:
        with suppress(ValueError):
            return UUID(tenant)
        return None
    members = getattr(type_, "enum_class", None)
    return next((one for one in members if str(one.value) == tenant), tenant) if members else tenant
