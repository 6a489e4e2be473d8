"""Opens and seals values of one column outside of statements, with every check. See :class:`ColumnDoor`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import QueryableAttribute

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.presealed import is_presealed, strip
from sqlalchemy_cmk.columns.reading import ColumnReader, Owners
from sqlalchemy_cmk.columns.tenants import sealed_columns as columns_of
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.columns.writing import ColumnWriter
from sqlalchemy_cmk.errors import ConfigurationError, TenantMismatch, TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.keys.binding.held_keys import HeldKeys
from sqlalchemy_cmk.keys.declarations import refuse_wrong_declarations
from sqlalchemy_cmk.keys.doors import Rows, door_makers
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.runtime.kinds import described


def sealed_columns(model: Any) -> tuple[Any, ...]:
    """Return the sealed attributes of a mapped class, or the sealed columns of a table, in their order.

    Args:
        model: the mapped class or the ``Table``.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(model, Table):
        return tuple(one.column for one in columns_of(model).values())
    try:
        mapper = inspect(model)
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(mapper, Mapper):
        raise ConfigurationError(f"sealed_columns: give a mapped class or a Table, not {described(model)}")
    return tuple(
        getattr(mapper.class_, one.key)
        for one in mapper.column_attrs
        if isinstance(one.columns[0].type, EncryptedType) and one.columns[0].type.sealed_column is not None
    )


class ColumnDoor:
    """Seals and opens values of one column under a keyring's keys.

    Args:
        keyring: the keyring.
        column: the sealed column: a model's attribute or a table's column.

    Raises:
        ConfigurationError: the column is not sealed, or the keyring does not protect it.
        UnsupportedOperation: the keyring is in a dry run.
    """

    def __init__(self, keyring: Keyring, column: Any) -> None:
        self._column = _sealed(column)
        metadata = self._column.table.metadata
        if metadata not in keyring.protected:
            raise ConfigurationError(
                f"{self._column.where}: this keyring does not protect the column: call "
                "keyring.protect(Base) first"
            )
        refuse_wrong_declarations(metadata, self._column.table)
        if self._column.dry_run is not None:
            raise UnsupportedOperation(
                f"{self._column.where}: in a dry run nothing is sealed: values are stored as they are"
            )
        self._keys = HeldKeys(keyring.keys)

    def seal(self, values: Sequence[Any], tenant: object, rows: Rows | None) -> list[bytes | None]:
        """Return values sealed; see :meth:`ValueDoors.seal`."""
        writer = ColumnWriter(self._column, self._keys)
        sealed = writer.seal_all(values, self._owner(tenant), self._identities(rows, len(values)))
        # SQL's null() is what an SQL NULL is for a type that keeps a null of its own.
        return [strip(one) if is_presealed(one) else None for one in sealed]

    def open(self, stored: Sequence[Any], tenant: object, rows: Rows | None) -> list[Any]:
        """Return stored values opened; see :meth:`ValueDoors.open`."""
        owner = self._owner(tenant)

        def name(_: Hashable) -> str:
            return owner

        identities = self._identities(rows, len(stored))
        if not stored:
            return []
        return list(ColumnReader(self._column, self._keys).read(stored, Owners(name), identities))

    def _owner(self, tenant: object) -> str:
        source = tenant_source(self._column.table) if self._column.is_tenants else None
        if source is not None:
            return self._column.owner(None if tenant is None else source.name(tenant))
        if tenant not in (None, ""):
            raise TenantMismatch(
                f"{self._column.where}: its values are the platform's in every row: leave tenant out"
            )
        if self._column.is_tenants:
            raise TenantRequired(f"{self._column.where}: nothing says whose its rows are")
        return self._column.owner(None)

    def _identities(self, rows: Rows | None, count: int) -> list[bytes] | None:
        if not self._column.scheme.row_bound:
            return None
        identity = identity_of(self._column.table)
        names = ", ".join(identity.keys)
        if rows is None or len(rows) != count:
            raise UnsupportedOperation(
                f"{self._column.where} is row-bound: give the {names} of each value's row, as in "
                f"row={{{identity.keys[0]!r}: ...}}"
            )
        encode = identity.encoder()
        return [encode(self._held(row, identity.keys)) for row in rows]

    def _held(self, row: Mapping[str, Any], keys: Sequence[str]) -> list[Any]:
        missing = [key for key in keys if key not in row]
        if missing:
            raise UnsupportedOperation(f"{self._column.where} is row-bound: the row lacks {missing[0]!r}")
        return [row[key] for key in keys]


def _sealed(column: Any) -> SealedColumn:
    """Return what an attribute or a column is as a sealed column.

    Raises:
        ConfigurationError: it is none.
    """
    element = column.__clause_element__() if isinstance(column, QueryableAttribute) else column
    type_ = getattr(element, "type", None)
    found = type_.sealed_column if isinstance(type_, EncryptedType) else None
    if found is None:
        what = str(column) if isinstance(column, QueryableAttribute | ColumnElement) else described(column)
        raise ConfigurationError(
            f"{what}: give a sealed column, as Model.attribute or table.c.column of an EncryptedType"
        )
    return found


door_makers.append(ColumnDoor)
