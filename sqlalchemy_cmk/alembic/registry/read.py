"""The table of sealed columns: what migrations have sealed, which the database's catalogue does not show."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, Row, Table, inspect, select

from sqlalchemy_cmk.alembic.names import ColumnName, refuse_unprintable
from sqlalchemy_cmk.alembic.registry.type_text import type_of, type_text
from sqlalchemy_cmk.alembic.rows import PLATFORM, TableRows, needs_no_name
from sqlalchemy_cmk.columns.scheme import ContextName, Scheme, name_of
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.comparing import python_type_of
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.rekey.job import TenantColumn

# These change nothing about how values are stored. Indexes have a table of their own.
_OF_THE_APPLICATION = ("on_revoked", "accept_plaintext", "accept_legacy", "index")
_STORED = {field.name: field.default for field in fields(Scheme) if field.name not in _OF_THE_APPLICATION}

# The columns of a row identity, each with its type as text.
RowColumnTexts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One sealed column as its last migration left it.

    Attributes:
        name: the column.
        type: the type of the values, as text.
        scheme: the options that decide how values are stored, with the context that they are bound to.
        tenant_column: as ``op.encrypt_column`` takes it.
        tenant_type: likewise, as text.
        row_columns: the row identity of row-bound values.
    """

    name: ColumnName
    type: str
    scheme: Scheme
    tenant_column: TenantColumn | None = None
    tenant_type: str | None = None
    row_columns: RowColumnTexts = ()

    @classmethod
    def of(cls, name: ColumnName, type_: EncryptedType, rows: TableRows = PLATFORM) -> Entry:
        """Return the entry of a column of this type."""
        scheme = type_.scheme.pinned(type_.scheme.bound_to(*name))
        kept = {option: getattr(scheme, option) for option in _STORED}
        # Values of the platform depend on no tenant column, and one that is noted could not be dropped.
        whose = rows if scheme.owner == "row" else PLATFORM
        tenant_type = None if needs_no_name(whose.tenant_type) else type_text(whose.tenant_type)
        bound = rows.row_columns if scheme.row_bound else ()
        identity = tuple((column, "" if of is None else type_text(of)) for column, of in bound)
        return cls(name, type_text(type_.type_), Scheme(**kept), whose.tenant_column, tenant_type, identity)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of a table or a column in it."""
        tenant = self.tenant_column or ()
        tenant_names = (tenant,) if isinstance(tenant, str) else tenant
        return (*filter(None, self.name), *tenant_names, *(column for column, _ in self.row_columns))

    @property
    def rows(self) -> TableRows:
        """How the table's rows name their tenant and themselves."""
        identity = ((column, type_of(text) if text else None) for column, text in self.row_columns)
        tenant_type = None if self.tenant_type is None else type_of(self.tenant_type)
        return TableRows(self.tenant_column, tenant_type, tuple(identity))

    @property
    def context(self) -> ContextName:
        """What the values are bound to, as ``EncryptedType(context=...)`` names it."""
        return name_of(self.scheme.bound_to(*self.name))

    @property
    def owner(self) -> str:
        """Whose values they are: ``"row"`` or ``"platform"``."""
        return "platform" if self.tenant_column is None else self.scheme.owner

    @property
    def same_values(self) -> tuple[object, ...]:
        """What has to agree for a column to be this one under another name."""
        return replace(self.scheme, context=None), self.type

    @property
    def stored_form(self) -> tuple[object, ...]:
        """What has to agree for stored values to open."""
        scheme = replace(self.scheme, context=None, owner=self.owner)  # type: ignore[arg-type]
        identity = tuple((column, _kind(text)) for column, text in self.row_columns)
        return self.scheme.bound_to(*self.name), scheme, self.type, identity

    def encrypted_type(self) -> EncryptedType | None:
        """Return the column's type; ``None`` if the type of its values cannot be found any more."""
        type_ = type_of(self.type)
        if type_ is None:
            return None
        pinned = self.scheme.bound_to(*self.name) != Context.of_column(*self.name)
        return EncryptedType(type_, scheme=self.scheme if pinned else replace(self.scheme, context=None))


class Registry:
    """Reads the table of sealed columns on a migration's own connection.

    Args:
        table: the table, one of the key tables.
        connection: the migration's connection.
    """

    def __init__(self, table: Table, connection: Connection) -> None:
        self._table = table
        self._connection = connection

    @property
    def exists(self) -> bool:
        """Whether the table is there."""
        return inspect(self._connection).has_table(self._table.name)

    def entries(self) -> dict[ColumnName, Entry]:
        """Return all entries by their columns.

        Raises:
            ConfigurationError: a row holds what no migration has written.
        """
        rows = self._connection.execute(select(self._table)).all() if self.exists else []
        return {entry.name: entry for entry in map(_entry, rows)}

    def require(self) -> None:
        """Check that the table is there.

        Raises:
            ConfigurationError: it is not.
        """
        if not self.exists:
            raise ConfigurationError(no_table(self._table.name))


def no_table(name: str) -> str:
    """Return what to say where a key table is not there yet."""
    return (
        f"there is no table {name}: the key tables come first, in this migration or an earlier one; alembic "
        "revision --autogenerate writes them, after keyring.protect(Base)"
    )


def scheme_of(entry: Entry) -> str:
    """Return how a column is sealed as JSON that people can read, without options that have their default.

    Raises:
        ConfigurationError: a name holds what cannot be printed.
    """
    refuse_unprintable(entry.names)
    options = {name: getattr(entry.scheme, name) for name in _STORED}
    rows = {
        "tenant_column": entry.tenant_column,
        "tenant_type": entry.tenant_type,
        "row_columns": dict(entry.row_columns),
    }
    scheme = {
        "type": entry.type,
        **{name: value for name, value in options.items() if value != _STORED[name]},
        **{name: value for name, value in rows.items() if value},
    }
    return json.dumps(scheme, ensure_ascii=False)


def key_of(name: ColumnName) -> dict[str, str]:
    """Return the primary key of a column's row."""
    return {"schema_name": name.schema or "", "table_name": name.table, "column_name": name.column}


def _entry(row: Row[Any]) -> Entry:
    """Return the entry that a row holds: values only, nothing of it is run."""
    name = ColumnName(row.schema_name or None, row.table_name, row.column_name)
    reason = ""
    try:
        scheme = json.loads(row.scheme)
        options = {option: _named(scheme[option]) for option in _STORED if option in scheme}
        entry = Entry(
            name,
            _text(scheme["type"]),
            Scheme(**options),
            _tenant_column(scheme.get("tenant_column")),
            _text(scheme["tenant_type"]) if "tenant_type" in scheme else None,
            tuple((column, _text(of)) for column, of in scheme.get("row_columns", {}).items()),
        )
        refuse_unprintable(entry.names)
        return entry
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ConfigurationError) as error:
        reason = type(error).__name__
    raise ConfigurationError(
        f"the table of sealed columns does not say how {name} is sealed ({reason}): correct its row, or "
        "delete it and run alembic revision --autogenerate"
    )


def _named(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _tenant_column(value: Any) -> TenantColumn | None:
    names = _named(value)
    if isinstance(names, tuple) and len(names) in (2, 3):
        return tuple(map(_text, names))
    return None if names is None else _text(names)


def _kind(text: str) -> object:
    """Return what has to agree of an identity column's type for its values to be encoded alike."""
    type_ = type_of(text) if text else None
    return python_type_of(type_) if needs_no_name(type_) and type_ is not None else text
