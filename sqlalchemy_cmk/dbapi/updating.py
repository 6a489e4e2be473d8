"""UPDATE in SQL text: the rows that it matches say whose they are; those of others are left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, Connection, String
from sqlalchemy import column as column_of_text

from sqlalchemy_cmk.columns.identity import RowIdentity
from sqlalchemy_cmk.columns.lookups import owners_in_database
from sqlalchemy_cmk.columns.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.databases.comparing import exactly
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.dbapi.parameters import Values
from sqlalchemy_cmk.dbapi.stored import stored
from sqlalchemy_cmk.errors import TenantMismatch, UnsupportedOperation
from sqlalchemy_cmk.hooks.compounds import RestOfRows, write_compounds
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.hooks.values import Row
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant, current_tenant
from sqlalchemy_cmk.sql import Plan, Updated
from sqlalchemy_cmk.sql.text import Edit, Key

# Runs a query of this module's own on the caller's connection, in its transaction.
Ask = Callable[[str, Any], Sequence[Sequence[Any]]]


def asker(connection: Connection) -> Ask:
    """Return what runs queries on SQLAlchemy's connection, past its events."""

    def ask(statement: str, parameters: Any) -> Sequence[Sequence[Any]]:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    return ask


class UpdateSealer:
    """Seals what one UPDATE writes into sealed columns.

    Args:
        connection: where it runs.
        plan: the statement.
        updated: what it writes.
        ask: runs a query on the caller's connection.
    """

    def __init__(self, connection: Connection, plan: Plan, updated: Updated, ask: Ask) -> None:
        self._connection = connection
        self._plan = plan
        self._updated = updated
        self._ask = ask
        self._writer = RowWriter(updated.table, connection)
        self._keys = [str(column.key) for column in updated.written]
        self._is_tenants = any(self._writer.columns[key].is_tenants for key in self._keys)

    def sealed(self, values: Values) -> tuple[str, Any]:
        """Return the statement and its parameters, as the driver takes them.

        Args:
            values: of one execution, those of its criteria sealed.

        Raises:
            TenantRequired: neither the primary key, the criteria nor a scope says whose rows they are.
            TenantMismatch: it would write rows of another tenant.
            UnsupportedOperation: it would write a row-bound value to several rows.
        """
        source = tenant_source(self._updated.table) if self._is_tenants else None
        identity = self._identity(values)
        checked = self._checked(source, identity)
        found = self._matching(checked, values) if checked else []
        tenant = PLATFORM_TENANT if source is None else self._tenant(source, found, values)
        if checked and not found:
            return self._written({}, values, None)
        held = self._held(identity, checked, found)
        row: Row = {str(one.key): values.of(given) for one, given in self._updated.written.items()}
        keys = tuple(self._updated.table.primary_key) if source is None else source.keys
        name = tuple(values.equal(self._updated.path, key) for key in keys)
        names = [None if None in name else name]
        rest = RestOfRows(self._connection, self._writer, keys, names, [tenant])
        write_compounds(self._writer, [row], [tenant], {}, rest)
        self._writer.seal_rows([row], [tenant], self._keys, None if held is None else [held])
        guard = [(column, found[0][i]) for i, (column, _) in enumerate(checked)]
        return self._written(row, values, guard)

    def _identity(self, values: Values) -> RowIdentity | None:
        written = self._updated.written.items()
        bound = any(self._writer.needs_identity(str(one.key), values.of(given)) for one, given in written)
        return self._writer.identity if bound else None

    def _checked(
        self, source: TenantSource | None, identity: RowIdentity | None
    ) -> list[tuple[str, Column[Any]]]:
        """Return the columns that all rows have to be alike in, each as it is compared to the last bit."""
        columns: list[Column[Any]] = []
        if source is not None and source.table is self._updated.table:
            columns.append(source.column)
        columns += [] if identity is None else identity.columns
        return [(self._exact(one), one) for one in dict.fromkeys(columns)]

    def _exact(self, column: Column[Any]) -> str:
        written = column_of_text(str(column.name), column.type)
        exact = exactly(written, self._connection.dialect) if isinstance(column.type, String) else written
        return Quoting(self._connection.dialect).compiled(exact)

    def _matching(self, checked: Sequence[tuple[str, Column[Any]]], values: Values) -> list[list[Any]]:
        """Return what the rows that the statement matches hold in the checked columns, each once."""
        text, quoting = self._plan.text, Quoting(self._connection.dialect)
        names = ", ".join(f"{exact}, {quoting.name(str(column.name))}" for exact, column in checked)
        start, end = self._updated.target
        target, _ = text.written(start, end)
        where = ""
        keys: list[Key] = []
        if self._updated.where is not None:
            criteria, keys = text.written(*self._updated.where, values.edits)
            where = f" WHERE {criteria}"
        doubled = names.replace("%", "%%") if text.style == "percent" else names
        rows = self._ask(f"SELECT DISTINCT {doubled} FROM {target}{where}", values.listed(keys))  # noqa: S608
        return [list(row) for row in rows]

    def _tenant(self, source: TenantSource, found: Sequence[Sequence[Any]], values: Values) -> str:
        updated, where = self._updated, self._updated.table.fullname
        pinned = [values.equal(updated.path, one) for one in updated.table.primary_key]
        named = values.tenant(updated.path, source)
        if source.table is not updated.table:
            keys = tuple(values.equal(updated.path, one) for one in source.keys)
            owners = owners_in_database(self._connection, source, [] if None in keys else [keys])
            if keys not in owners:
                raise UnsupportedOperation(
                    f"{where}: an UPDATE has to name its row by the primary key: the "
                    "tenant is in another table"
                )
            return agreed_tenant(owners[keys], where)
        read = source.reader(self._connection.dialect)
        owned = {read(row[1]) for row in found if row[1] is not None}
        if any(row[1] is None for row in found):
            raise TenantMismatch(f"{where}: the UPDATE would write rows without a tenant")
        by_key = bool(pinned) and None not in pinned
        if named is None and current_tenant() is None and by_key and not owned:
            return PLATFORM_TENANT  # there is no such row, and nothing is written
        own = owned.pop() if named is None and by_key and len(owned) == 1 else None
        tenant = agreed_tenant(named if own is None else own, where)
        if owned - {tenant}:
            raise TenantMismatch(
                f"{where}: the UPDATE for tenant {tenant!r} would write rows of another tenant"
            )
        return tenant

    def _held(
        self,
        identity: RowIdentity | None,
        checked: Sequence[tuple[str, Column[Any]]],
        found: Sequence[Sequence[Any]],
    ) -> list[Any] | None:
        """Return what the identity columns of the one row hold; ``None`` if nothing is bound to them."""
        if identity is None:
            return None
        if len(found) != 1:
            raise UnsupportedOperation(
                f"{self._updated.table.fullname}: an UPDATE of a row-bound column writes one row: name it by "
                "its primary key"
            )
        dialect = self._connection.dialect
        held = []
        for column in identity.columns:
            index = [one for _, one in checked].index(column)
            raw = found[0][2 * index + 1]
            read = column.type.dialect_impl(dialect).result_processor(dialect, None)
            held.append(raw if read is None else read(raw))
        return held

    def _written(self, row: Row, values: Values, guard: Sequence[tuple[str, Any]] | None) -> tuple[str, Any]:
        """Return the statement for a sealed row, of rows that hold what was found; ``None`` for no row."""
        updated, text, dialect = self._updated, self._plan.text, self._connection.dialect
        for column, given in updated.written.items():
            if given.number is not None:
                sealed = row.get(str(column.key))
                values.replace(given.number, None if sealed is None else stored(column, sealed, dialect))
        is_named = any(isinstance(one.key, str) for one in text.parameters)
        count = len(values.known)
        quoting = Quoting(dialect)

        def add(value: Any) -> list[str | Key]:
            number = len(values.known) - count
            key: Key = f"cmk_hidden_{number}" if is_named else count + number
            values.known[key] = value
            return [-1, key]

        hidden = [key for key in row if key not in self._keys]
        assigned: list[str | Key] = []
        for key in hidden:
            column = updated.table.c[key]
            assigned += [
                f"{quoting.name(str(column.name))} = ",
                *add(stored(column, row[key], dialect)),
                ", ",
            ]
        criteria: list[str | Key] = [] if guard is not None else ["1 = 0"]
        for exact, value in guard or ():
            criteria += [*(["AND "] if criteria else []), f"{exact} = ", *add(value), " "]
        at = updated.assignments
        added: list[Edit] = [(at, at, assigned), *values.edits]
        if criteria and updated.where is not None:
            start, end = updated.where
            added += [(start, start, [" (", *criteria, ") AND ("]), (end, end, [") "])]
        elif criteria:
            added.append((updated.end, updated.end, [" WHERE ", *criteria]))
        statement, keys = text.written(0, len(text.parsed), added)
        return statement, values.listed(keys)
