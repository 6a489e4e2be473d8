"""INSERT: brings its rows, each with its tenant, to the row writer; upserts included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table

from sqlalchemy_cmk.columns.lookups import owners_in_database
from sqlalchemy_cmk.columns.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.hooks.compounds import compound_elements, write_compounds
from sqlalchemy_cmk.hooks.defaults import depended_on, fill_defaults
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.hooks.upserts import seal_upsert
from sqlalchemy_cmk.hooks.values import MISSING, Row, column_of, known_value, refuse_shared
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant


def seal_insert(
    connection: Connection, statement: Insert, table: Table, rows: list[Row]
) -> tuple[Insert, list[Row]]:
    """Seal every value that an INSERT writes into sealed columns.

    Args:
        rows: the parameters, a dict each; changed in place.

    Raises:
        TenantRequired: a row names no tenant.
        UnsupportedOperation: the rows come from a SELECT, or a value is SQL.
    """
    writer = RowWriter(table, connection)
    if not writer.columns and private.upsert_clause(statement) is None:
        return statement, rows
    if writer.columns and private.is_from_select(statement):
        raise UnsupportedOperation(
            f"INSERT INTO {table.fullname} ... SELECT cannot seal what the SELECT returns: "
            "read the rows and insert them"
        )
    if len(rows) > 1 and private.is_sorted_by_key(statement):
        raise UnsupportedOperation(
            f"{table.fullname}: RETURNING cannot be sorted by a sealed primary key: leave "
            "sort_by_parameter_order out, or add a column with insert_sentinel()"
        )
    work = _InsertSealer(connection, statement, writer)
    return work.multi(rows) if private.multi_values(statement) else work.run(rows)


class _InsertSealer:
    def __init__(self, connection: Connection, statement: Insert, writer: RowWriter) -> None:
        self.connection = connection
        self.statement = statement
        self.writer = writer
        self.table = writer.table
        self.source = tenant_source(self.table)
        self.embedded = {
            key: value
            for raw, value in private.single_values(statement).items()
            if (key := column_of(statement, self.table, raw)) is not None
        }

    def run(self, rows: list[Row]) -> tuple[Insert, list[Row]]:
        """Seal single values and parameter rows."""
        given = rows or [{}]
        self.fill_defaults(given, self.embedded, None)
        tenants = self.tenants(given, None)
        identities = self.identities(given, None)
        embedded = {key: value for key, value in self.embedded.items() if key in self.writer.columns}
        written = [key for key in self.writer.columns if key not in embedded]
        together = write_compounds(self.writer, given, tenants, embedded)
        self.writer.seal_rows(given, tenants, written, identities)
        statement = self.statement
        if embedded:
            refuse_shared(self.statement, embedded.values(), given)
            sealed = {**self.writer.seal_embedded(embedded, given, tenants, identities), **together}
            statement = private.with_single_values(statement, self.original_keys(sealed))
        return self.upsert(statement, given, tenants), given if rows or any(given) else rows

    def multi(self, rows: list[Row]) -> tuple[Insert, list[Row]]:
        """Seal the rows of ``insert().values([...])``."""
        params = rows[0] if rows else {}
        given = [self.named(row) for row in private.multi_values(self.statement)]
        self.fill_defaults(given, {}, params)
        tenants = self.tenants(given, params)
        identities = self.identities(given, params)
        for i, (row, tenant) in enumerate(zip(given, tenants, strict=True)):
            together = compound_elements(self.writer, row, tenant, params)
            for key in self.writer.columns.keys() & row.keys():
                identity = identities and identities[i]
                row.update(self.writer.token_elements(key, row[key], tenant, params))
                row[key] = self.writer.seal_value(key, row[key], tenant, params, identity)
            row.update(together)
        statement = private.with_multi_values(self.statement, given)
        return self.upsert(statement, rows or [{}], tenants), rows

    def named(self, row: Any) -> Row:
        pairs = row.items() if isinstance(row, dict) else zip(self.table.c.keys(), row, strict=False)
        return {column_of(self.statement, self.table, key) or key: value for key, value in pairs}

    def fill_defaults(self, rows: list[Row], embedded: Row, params: Row | None) -> None:
        """Give rows the Python defaults of sealed columns, and of what says whose and which row it is."""
        needed = depended_on(self.table)
        fill_defaults(self.connection, self.table, rows, embedded, needed, insert=True, params=params)

    def tenants(self, rows: list[Row], params: Row | None) -> list[str]:
        """Return the tenant of each row, or the platform for one that writes nothing of a tenant's.

        Args:
            params: where parameters given by ``bindparam("name")`` are; ``None`` for in the row itself.
        """
        source = self.source
        owned = [column.is_tenants for column in self.writer.columns.values()]
        if source is None or not any(owned):
            return [PLATFORM_TENANT] * len(rows)
        if source.table is not self.table:
            return self.tenants_of_base(source, rows, params)
        where, key = self.table.fullname, source.column.key
        known: dict[Any, str] = {}
        found = []
        for row in rows:
            owner = row.get(key, MISSING)
            if type(owner) is not str:
                owner = self.value(key, row, params)
            tenant = known.get(owner)
            if tenant is None:
                if not all(owned) and self.is_platforms(row, params):
                    found.append(PLATFORM_TENANT)
                    continue
                if owner is MISSING:
                    raise TenantRequired(f"{where}: the row does not name its tenant: set {key!r}")
                tenant = known[owner] = agreed_tenant(_owner(source, owner), where)
            found.append(tenant)
        return found

    def is_platforms(self, row: Row, params: Row | None) -> bool:
        """Return whether a row writes to columns of the platform only, so that its tenant does not matter."""
        return not any(
            column.is_tenants
            and self.writer.is_value(key, row.get(key, self.embedded.get(key)), params or row)
            for key, column in self.writer.columns.items()
            if key in row or key in self.embedded
        )

    def value(self, key: str, row: Row, params: Row | None) -> Any:
        value = row[key] if key in row else self.embedded.get(key, MISSING)
        return known_value(value, row if params is None else params)

    def tenants_of_base(self, source: TenantSource, rows: list[Row], params: Row | None) -> list[str]:
        identities = [tuple(self.value(str(c.key), row, params) for c in source.keys) for row in rows]
        owners = owners_in_database(self.connection, source, identities)
        where = self.table.fullname
        missing = [one for one in identities if one not in owners]
        if missing:
            raise TenantRequired(
                f"{where}: there is no row in {source.table.fullname} that says whose row this is"
            )
        return [agreed_tenant(owners[one], where) for one in identities]

    def identities(self, rows: list[Row], params: Row | None) -> list[Sequence[Any]] | None:
        """Return what the identity columns of each row will hold; ``None`` if no column is row-bound."""
        if self.writer.identity is None:
            return None
        keys = self.writer.identity.keys
        return [[self.value(key, row, params) for key in keys] for row in rows]

    def original_keys(self, sealed: Row) -> dict[Any, Any]:
        given = {
            key: raw
            for raw in private.single_values(self.statement)
            if (key := column_of(self.statement, self.table, raw)) is not None
        }
        return {given.get(key, key): value for key, value in sealed.items()}

    def upsert(self, statement: Insert, rows: list[Row], tenants: list[str]) -> Insert:
        dialect = self.connection.dialect
        return seal_upsert(dialect, statement, self.writer, self.source, rows, tenants)


def _owner(source: TenantSource, owner: Any) -> str:
    try:
        return source.name(owner)
    except TenantRequired:
        pass
    raise TenantRequired(
        f"{source.table.fullname}: the row's tenant column {source.column.key!r} is empty: "
        "set it before the row is written"
    )
