"""Where a table's rows tell their tenant: in a column of their own, or in the row of a base table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Dialect,
    Enum,
    String,
    Table,
    Uuid,
    and_,
    event,
    false,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.column import TENANT_INFO_KEY, SealedColumn
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.comparing import equals_exactly, python_type_of
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.declarations import check_again
from sqlalchemy_cmk.keys.dry_run import noting
from sqlalchemy_cmk.scope import tenant_name

MODEL_ATTRIBUTE = "__cmk_tenant__"
ROW_ATTRIBUTE = "__cmk_row__"
ROW_INFO_KEY = "cmk_row"


# Types of tenant columns whose values have several forms.
_OF_MANY_FORMS = (CHAR, Uuid)


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

    @property
    def same_row(self) -> ColumnElement[bool]:
        """The criterion by which a row of the table that holds the tenant column is a row of :attr:`rows`."""
        pairs = zip(self.keys, self.table.primary_key, strict=True)
        return and_(*(ours == theirs for ours, theirs in pairs))

    def name(self, value: object) -> str:
        """Return the tenant's name for a value of the column, one name for all forms of a value.

        Raises:
            TenantRequired: it names no tenant.
        """
        return name_in(self.column.type, value)

    def reader(self, dialect: Dialect) -> Callable[[Any], str]:
        """Return :meth:`name` for values as the driver gives them."""
        processor = self.column.type.dialect_impl(dialect).result_processor(dialect, None)
        name = self.name if isinstance(self.column.type, _OF_MANY_FORMS) else tenant_name
        return name if processor is None else lambda raw: name(processor(raw))


def name_in(type_: TypeEngine[Any], value: object) -> str:
    """Return the tenant's name for a value of a tenant column of some type; see :meth:`TenantSource.name`."""
    if isinstance(value, str) and isinstance(type_, CHAR):
        value = value.rstrip(" ")  # databases pad it, or take the padding away
    elif isinstance(value, str) and isinstance(type_, Uuid):
        with suppress(ValueError):
            value = UUID(value)
    return tenant_name(value)


_sealed_columns: WeakKeyDictionary[Table, dict[str, SealedColumn]] = WeakKeyDictionary()


def sealed_columns(table: Table) -> dict[str, SealedColumn]:
    """Return the sealed columns of a table by their keys.

    Raises:
        ConfigurationError: the database would write a value of its own into one of them, or one has the type
            of another column.
    """
    found = _sealed_columns.get(table)
    if found is None:
        for one in table.columns:
            with noting(table.metadata):
                refuse_shared_type(one)
        found = {
            column.key: column.type.sealed_column
            for column in table.columns
            if isinstance(column.type, EncryptedType) and column.type.sealed_column is not None
        }
        for column in found.values():
            with noting(table.metadata):
                _refuse_computed(column)
        if any(column.column.primary_key for column in found.values()):
            # RETURNING would be matched to parameters by the key, which is sealed in the one and not yet
            # opened in the other.
            table.implicit_returning = False
        _sealed_columns[table] = found
    return found


@event.listens_for(Column, "after_parent_attach")
def _forget_sealed_columns(column: Column[Any], table: Any) -> None:
    """Look at a table's columns again once it has another."""
    if isinstance(table, Table):
        _sealed_columns.pop(table, None)


def set_type(column: Column[Any], type_: TypeEngine[Any]) -> None:
    """Give a column that belongs to a table another type."""
    column.type = type_
    if isinstance(type_, EncryptedType):
        type_.attach(column)
    _sealed_columns.pop(column.table, None)
    check_again(column.table.metadata)


def refuse_shared_type(column: Column[Any]) -> None:
    """Refuse a column that took over another's ``EncryptedType``, and its context and owner with it.

    A foreign key without a type of its own does.

    Raises:
        ConfigurationError: it did.
    """
    if not isinstance(column.type, EncryptedType):
        return
    meant = column.type.sealed_column
    if meant is None or meant.column is not column:
        raise ConfigurationError(
            f"{column.table.fullname}.{column.name} has no EncryptedType of its own: give it one where it is "
            'declared, for a foreign key EncryptedType(..., deterministic=True, context="a name for both")'
        )


def _refuse_computed(sealed: SealedColumn) -> None:
    column = sealed.column
    own = [one for one in (column.default, column.onupdate) if one is not None]
    if (
        column.server_default is not None
        or column.server_onupdate is not None
        or not all(one.is_scalar or one.is_callable for one in own)
    ):
        raise ConfigurationError(
            f"{sealed.where}: the database would write its default or computed value unsealed: "
            "give the column a Python default instead"
        )


def tenant_source(table: Table) -> TenantSource | None:
    """Return where the rows of a table tell their tenant; ``None`` if they belong to the platform.

    A table without a model names its tenant column in ``info={"cmk_tenant": "column"}``, and says that its
    rows are the platform's with ``info={"cmk_tenant": None}``.

    Raises:
        ConfigurationError: ``info`` does not name a column, or names a sealed one.
    """
    info = table.info.get(TENANT_INFO_KEY)
    if info is None:
        return None
    if not isinstance(info, TenantSource):
        if not isinstance(info, str) or info not in table.c:
            raise ConfigurationError(
                f"{table.fullname}: info={{{TENANT_INFO_KEY!r}: ...}} is the key of its tenant column or "
                f"None, and {info!r} is not a column of the table"
            )
        refuse_sealed_tenant(table.fullname, table.c[info])
        info = TenantSource(table, table.c[info], tuple(table.primary_key))
    elif info.rows is not table:
        info = _copied(info, table)
    table.info[TENANT_INFO_KEY] = info
    return info


def refuse_sealed_tenant(where: str, column: Column[Any]) -> None:
    """Refuse a sealed tenant column: it has to be read before anything can be opened.

    Raises:
        ConfigurationError: it is sealed.
    """
    if isinstance(column.type, EncryptedType):
        raise ConfigurationError(f"{where}.{column.key}: the tenant column cannot itself be sealed")


def _copied(source: TenantSource, table: Table) -> TenantSource:
    """Return where a copy made by ``Table.to_metadata``, which copies ``info``, tells its tenants."""
    holder = table if source.table is source.rows else table.metadata.tables.get(source.table.key)
    if holder is None:
        raise ConfigurationError(
            f"{table.fullname} is a copy whose tenant column is in {source.table.fullname}: copy that too"
        )
    keys = tuple(table.c[str(column.key)] for column in source.keys)
    return TenantSource(table, holder.c[str(source.column.key)], keys)


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
    same = about_tenant(column, type_, tenant)
    if isinstance(type_, Enum) or not isinstance(type_, String):
        return same
    # The first uses an index, the second does not take 'ACME' for 'acme'.
    return and_(same, equals_exactly(column, tenant, dialect))


def about_tenant(column: ColumnElement[Any], type_: TypeEngine[Any], tenant: str) -> ColumnElement[bool]:
    """Return the criterion for a tenant's rows, and perhaps for those of names that a collation holds equal.

    Args: as for :func:`rows_of`, which compares exactly.
    """
    value = _as_stored(tenant, type_)
    return false() if value is None else type_coerce(column, type_) == value


def _as_stored(tenant: str, type_: TypeEngine[Any]) -> Any:
    """Return a tenant's name as the value of its column; ``None`` if no row can hold it."""
    kind = python_type_of(type_)
    if kind is int:
        return int(tenant) if tenant.removeprefix("-").isdecimal() else None
    if kind is UUID:
        with suppress(ValueError):
            return UUID(tenant)
        return None
    members = getattr(type_, "enum_class", None)
    return next((one for one in members if str(one.value) == tenant), tenant) if members else tenant
