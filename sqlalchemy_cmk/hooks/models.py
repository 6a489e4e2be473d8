"""What the hooks have to know of a mapped class with sealed columns. See :class:`SealedModel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import RowIdentity, identity_of
from sqlalchemy_cmk.columns.tenants import TenantSource, sealed_columns, tenant_source
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.hooks.defaults import fills
from sqlalchemy_cmk.scope import PLATFORM_TENANT


@dataclass(frozen=True, slots=True)
class SealedModel:
    """The sealed attributes of a mapped class, the one that names the tenant, and its row identities.

    ``row_attributes`` are those that say whose and which row it is; ``is_mixed`` says whether some of the
    columns are a tenant's and others the platform's; ``defaults`` and ``onupdates`` hold the tables whose
    Python defaults are called before a row is sealed, each with its attributes by column key.
    """

    attributes: dict[str, SealedColumn]
    source: TenantSource | None
    tenant_attribute: str | None
    identities: dict[Table, RowIdentity]
    row_attributes: frozenset[str]
    is_mixed: bool
    defaults: dict[Table, dict[str, str]]
    onupdates: dict[Table, dict[str, str]]

    def tenant(self, owner: Any) -> str:
        """Return the tenant's name for what the tenant attribute holds."""
        return PLATFORM_TENANT if self.source is None else self.source.name(owner)


_models: WeakKeyDictionary[Mapper[Any], SealedModel | None] = WeakKeyDictionary()


def sealed_model(mapper: Mapper[Any]) -> SealedModel | None:
    """Return the sealed attributes of a mapper, ``None`` if it has none."""
    if mapper not in _models:
        _models[mapper] = _describe(mapper)
    return _models[mapper]


def _describe(mapper: Mapper[Any]) -> SealedModel | None:
    sealed = {
        attribute.key: attribute.columns[0].type.sealed_column
        for attribute in mapper.column_attrs
        if isinstance(attribute.columns[0].type, EncryptedType)
        and isinstance(attribute.columns[0].table, Table)
    }
    columns = {key: column for key, column in sealed.items() if column is not None}
    if not columns:
        return None
    source = next((s for column in columns.values() if (s := tenant_source(column.table))), None)
    tenant = None if source is None else mapper.get_property_by_column(source.column).key
    bound = {column.table for column in columns.values() if column.scheme.row_bound}
    identities = {table: identity_of(table) for table in bound}
    named = [column for identity in identities.values() for column in identity.columns]
    row = {mapper.get_property_by_column(column).key for column in named} | ({tenant} if tenant else set())
    is_mixed = len({column.is_tenants for column in columns.values()}) == 2
    tables = [one for one in mapper.tables if isinstance(one, Table) and sealed_columns(one)]
    return SealedModel(
        columns,
        source,
        tenant,
        identities,
        frozenset(row),
        is_mixed,
        {table: _attributes(mapper, table) for table in tables if fills(table, insert=True)},
        {table: _attributes(mapper, table) for table in tables if fills(table, insert=False)},
    )


def _attributes(mapper: Mapper[Any], table: Table) -> dict[str, str]:
    """Return the keys of a mapper's attributes by those of a table's columns."""
    return {
        str(column.key): attribute.key
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if getattr(column, "table", None) is table
    }
