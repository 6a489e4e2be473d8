"""UPDATE: the row decides where its primary key is named; else the statement or the scope does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Table, Update, false, or_, select
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.columns.identity import is_exact
from sqlalchemy_cmk.columns.lookups import Identity, identities_in_database, owners_in_database
from sqlalchemy_cmk.columns.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.comparing import exactly
from sqlalchemy_cmk.errors import TenantMismatch, UnsupportedOperation
from sqlalchemy_cmk.hooks.compounds import RestOfRows, write_compounds
from sqlalchemy_cmk.hooks.criteria import seal_named
from sqlalchemy_cmk.hooks.defaults import fill_defaults
from sqlalchemy_cmk.hooks.equality import named_tenant, pinned
from sqlalchemy_cmk.hooks.flush import flushed_row
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.hooks.values import MISSING, Row, column_of, known_value, refuse_shared
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant


def seal_update(
    connection: Connection, statement: Update, table: Table, rows: list[Row]
) -> tuple[Update, list[Row]]:
    """Seal every value that an UPDATE writes into sealed columns.

    Args:
        rows: the parameters, a dict each; changed in place.

    Raises:
        TenantRequired: neither a primary key, the WHERE clause nor a scope says whose rows they are.
        TenantMismatch: the scope names another tenant than the rows.
        UnsupportedOperation: a value is SQL, or the tenant or the identity changes without the row being
            sealed again.
    """
    work = _UpdateSealer(connection, statement, table)
    given = rows or [{}]
    written = work.written(given)
    work.refuse_moving(given)
    if not written:
        work.seal_keys(given)
        return statement, rows
    work.fill_defaults(given)
    tenants = work.tenants(given, written)
    identities = work.row_identities(given, written)
    return work.sealed(given, written, tenants, identities), given if rows or any(given) else rows


class _UpdateSealer:
    def __init__(self, connection: Connection, statement: Update, table: Table) -> None:
        self.connection = connection
        self.statement = statement
        self.table = table
        self.writer = RowWriter(table, connection)
        self.columns = self.writer.columns
        self.source: TenantSource | None = tenant_source(table)
        self.guard: ColumnElement[bool] | None = None
        self.embedded = {
            key: (raw, value)
            for raw, value in private.single_values(statement).items()
            if (key := column_of(statement, table, raw)) is not None
        }

    def written(self, rows: list[Row]) -> list[str]:
        """Return the keys of the sealed columns that the statement writes, in the order of the columns."""
        return [
            key
            for key, column in self.columns.items()
            if key in self.embedded or key in rows[0] or column.column.onupdate is not None
        ]

    def refuse_moving(self, rows: list[Row]) -> None:
        """Refuse to change whose row it is, or what identifies it, unless a flush seals the row again."""
        source = self.source
        keys = [] if source is None or source.table is not self.table else [str(source.column.key)]
        keys += [] if self.writer.identity is None else list(self.writer.identity.keys)
        for key in dict.fromkeys(keys):
            if key in self.embedded or (self.sets(key, rows[0]) and not self.is_flushed(rows[0])):
                what = "tenant" if source is not None and key == source.column.key else "row identity"
                raise UnsupportedOperation(
                    f"{self.table.fullname}: an UPDATE of the {what} column {key!r} would leave values under "
                    f"the old {what}: change the attribute of loaded objects, and the flush seals them again"
                )

    def sets(self, key: str, row: Row) -> bool:
        return key in row and not any(bind.key == key for bind in self.criteria_binds())

    def criteria_binds(self) -> list[BindParameter[Any]]:
        criteria = self.statement.whereclause
        parts = () if criteria is None else iterate(criteria)
        return [part for part in parts if isinstance(part, BindParameter)]

    def is_flushed(self, row: Row) -> bool:
        identity = self.primary_key(row)
        return identity is not None and flushed_row(self.table, identity) is not None

    def tenants(self, rows: list[Row], written: list[str]) -> list[str]:
        if self.source is None or not any(self.columns[key].is_tenants for key in written):
            return [PLATFORM_TENANT] * len(rows)
        identities = [self.primary_key(row) for row in rows]
        if any(identity is None for identity in identities):
            return [self.tenant_of_criteria(self.source, rows)] * len(rows)
        return self.tenants_of_rows(self.source, [one for one in identities if one is not None])

    def tenants_of_rows(self, source: TenantSource, identities: list[Identity]) -> list[str]:
        flushed = {one: row for one in identities if (row := flushed_row(self.table, one)) is not None}
        owners = {one: row.tenant for one, row in flushed.items()}
        unknown = [one for one in identities if one not in owners]
        if unknown:
            owners.update(owners_in_database(self.connection, source, unknown))
        where = self.table.fullname
        return [agreed_tenant(owners.get(one), where) for one in identities]

    def tenant_of_criteria(self, source: TenantSource, rows: list[Row]) -> str:
        """Return the tenant that the criteria or the scope name, if they match no other's rows."""
        where = self.table.fullname
        tenant = agreed_tenant(named_tenant(self.statement.whereclause, source, rows), where)
        if source.table is not self.table:
            raise UnsupportedOperation(
                f"{where}: a bulk UPDATE cannot tell the tenants of its rows: update them by primary key"
            )
        compared = exactly(source.column, self.connection.dialect)
        others = select(source.column, compared).distinct()
        if self.statement.whereclause is not None:
            others = others.where(self.statement.whereclause)
        found: list[Any] = []
        for row in map(self.criteria_of, rows):
            found += self.connection.execute(others, row).all()
        if any(owner is None or source.name(owner) != tenant for owner, _ in found):
            raise TenantMismatch(
                f"{where}: the UPDATE for tenant {tenant!r} would write rows of another tenant"
            )
        # The rows were looked at before; those that came to match since are left alone.
        values = {value for _, value in found}
        self.guard = or_(*(compared == value for value in values)) if values else false()
        return tenant

    def criteria_of(self, row: Row) -> Row:
        """Return the parameters that the WHERE clause names, which are not those to be written."""
        names = {bind.key for bind in self.criteria_binds()}
        return {name: value for name, value in row.items() if name in names}

    def primary_key(self, row: Row) -> Identity | None:
        """Return the primary key that the WHERE clause pins, in the order of the tenant's table."""
        keys = tuple(self.table.primary_key) if self.source is None else self.source.keys
        found = pinned(self.statement.whereclause, self.table)
        if not keys or any(column.key not in found for column in keys):
            return None
        values = tuple(known_value(found[str(column.key)], row) for column in keys)
        return None if any(value is None or value is MISSING for value in values) else values

    def row_identities(self, rows: list[Row], written: list[str]) -> list[Sequence[Any]] | None:
        """Return what the identity columns of each row hold; ``None`` if nothing is bound to them."""
        identity = self.writer.identity
        if identity is None or not any(self.binds(key, row) for key in written for row in rows):
            return None
        found = pinned(self.statement.whereclause, self.table)
        own = tuple(self.table.primary_key)
        keys = [tuple(_value(found, column, row) for column in own) for row in rows]
        flushed = [flushed_row(self.table, one) for one in keys]
        result: list[Sequence[Any] | None] = [None if one is None else one.identity for one in flushed]
        if all(is_exact(column.type) for column in identity.columns if column.key in found):
            named = [tuple(_value(found, column, row) for column in identity.columns) for row in rows]
            result = [
                known or (None if MISSING in one else one) for known, one in zip(result, named, strict=True)
            ]
        unknown = [i for i, known in enumerate(result) if known is None]
        if unknown:
            by = identity.columns
            if by != own and not any(MISSING in keys[i] for i in unknown):
                by = own
            names = [tuple(_value(found, column, rows[i]) for column in by) for i in unknown]
            self.require_named(identity.keys, names)
            stored = identities_in_database(self.connection, by, identity.columns, names)
            for i, name in zip(unknown, names, strict=True):
                result[i] = stored.get(name, name if by is identity.columns else None)
        found_rows = [one for one in result if one is not None]
        if len(found_rows) != len(rows):
            raise UnsupportedOperation(
                f"{self.table.fullname}: there is no row with the primary key that an UPDATE of a row-bound "
                "column names"
            )
        return found_rows

    def binds(self, key: str, row: Row) -> bool:
        """Return whether the statement binds a value of a column to a row."""
        if key in self.embedded:
            return self.writer.needs_identity(key, known_value(self.embedded[key][1], row))
        return key in row and self.writer.needs_identity(key, row[key])

    def require_named(self, identity: Sequence[str], names: list[Identity]) -> None:
        if any(MISSING in one or None in one for one in names):
            raise UnsupportedOperation(
                f"{self.table.fullname}: an UPDATE of a row-bound column has to name its row: compare the "
                f"primary key or {', '.join(identity)} with a value in the WHERE clause"
            )

    def fill_defaults(self, rows: list[Row]) -> None:
        """Give rows the Python values that sealed columns have at each UPDATE."""
        embedded = {key: value for key, (_, value) in self.embedded.items()}
        fill_defaults(self.connection, self.table, rows, embedded, set(self.columns), insert=False)

    def sealed(
        self,
        rows: list[Row],
        written: list[str],
        tenants: list[str],
        identities: list[Sequence[Any]] | None,
    ) -> Update:
        """Seal the parameters and the embedded values; return the statement to execute."""
        self.seal_criteria(rows, tenants)
        given = [key for key in written if key not in self.embedded]
        keys = tuple(self.table.primary_key) if self.source is None else self.source.keys
        rest = RestOfRows(self.connection, self.writer, keys, list(map(self.primary_key, rows)), tenants)
        values = {key: value for key, (_, value) in self.embedded.items()}
        together = write_compounds(self.writer, rows, tenants, values, rest)
        self.writer.seal_rows(rows, tenants, given, identities)
        statement = self.statement
        embedded = {key: value for key, (_, value) in self.embedded.items() if key in self.columns}
        if embedded:
            refuse_shared(self.statement, embedded.values(), rows)
            sealed = {**self.writer.seal_embedded(embedded, rows, tenants, identities), **together}
            statement = private.with_single_values(
                statement,
                {self.embedded[key][0] if key in self.embedded else key: one for key, one in sealed.items()},
            )
        return statement if self.guard is None else statement.where(self.guard)

    def seal_keys(self, rows: list[Row]) -> None:
        """Seal the parameters of a sealed primary key, where a flush says whose row each is."""
        if not any(column.column.primary_key for column in self.columns.values()):
            return
        for row in rows:
            identity = self.primary_key(row)
            flushed = None if identity is None else flushed_row(self.table, identity)
            if flushed is not None:
                self.seal_criteria([row], [flushed.tenant])

    def seal_criteria(self, rows: list[Row], tenants: list[str]) -> None:
        """Seal the parameters of a sealed primary key, under each row's own tenant."""
        seal_named(self.connection, self.criteria_binds(), rows, tenants)


def _value(found: dict[str, BindParameter[Any]], column: Any, row: Row) -> Any:
    """Return the value that a WHERE clause compares a column with; ``MISSING`` where it does not."""
    return known_value(found[column.key], row) if column.key in found else MISSING
