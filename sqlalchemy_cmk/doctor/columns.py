"""Checks of sealed columns: one stored value of each is opened and discarded.

Rows are read first and opened afterwards, so that no KEK is called while a connection is held. Where an index
starts with the tenant column, one value of each tenant is opened, for at most :data:`MAX_TENANTS` tenants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    null,
    select,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import NullType

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.reading import ColumnReader
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.columns.tenants import TenantSource, sealed_columns, tenant_source
from sqlalchemy_cmk.databases.errors import complaint
from sqlalchemy_cmk.errors import CmkError, KeyRevoked, KeyUnavailable, TamperedError, TenantRequired
from sqlalchemy_cmk.findings import Finding, Level, remedy_for
from sqlalchemy_cmk.format import HEADER_BYTES
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.scope import PLATFORM_TENANT

MAX_TENANTS = 20
ANY = object()
RESTORE = "restore it from a backup, and find out who can write to the database"


@dataclass(slots=True)
class Outcome:
    """The results for the sampled values of one column."""

    opened: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    shredded: int = 0
    not_tried: dict[str, None] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sample:
    """One stored value, what its row's tenant column holds, and its row identity where it is bound to it."""

    stored: Any
    owner: Any
    identity: tuple[Any, ...]


class ColumnChecks:
    """Opens one value of each sealed column.

    Args:
        keyring: the keyring that protects the tables.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        # A KEK that cannot be reached is waited for once, and not once for every column.
        self._out_of_reach: dict[bytes, KeyUnavailable] = {}

    def findings(self) -> Iterator[Finding]:
        """Return the findings about every sealed column of every protected table."""
        for metadata in self._keyring.protected:
            tables = [table for table in metadata.tables.values() if sealed_columns(table)]
            if any(tenant_source(table) is not None for table in tables):
                yield from _under_the_platforms_key(tables)
            for table in tables:
                yield from self._table(table)

    def _table(self, table: Table) -> Iterator[Finding]:
        visibility = self._keyring.connections.database.visibility
        try:
            hidden = self._keyring.connections.run(lambda connection: visibility.hidden(connection, table))
            if hidden:
                left = "the keyring does not see every row, and neither re-keys it nor destroys a retired DEK"
                yield Finding(Level.WARNING, table.fullname, left, f"it {hidden}")
            samples = self._keyring.connections.run(lambda connection: _samples(connection, table))
        except (CmkError, OSError, SQLAlchemyError) as error:
            remedy = "create the table as the models declare it, and grant the account SELECT on it"
            yield Finding(Level.PROBLEM, table.fullname, f"cannot be read: {complaint(error)}", remedy)
            return
        for column, rows in samples:
            yield from _findings(column.where, self._outcome(column, rows))

    def _outcome(self, column: SealedColumn, rows: list[Sample]) -> Outcome:
        outcome = Outcome()
        reader = ColumnReader(column, self._keyring.keys)
        for sample in rows:
            try:
                self._open(column, reader, sample)
                outcome.opened += 1
            except KeyRevoked as error:
                if self._keyring.store.shredded([error.tenant] if error.tenant else []):
                    outcome.shredded += 1
                else:
                    outcome.refused[str(error)] = remedy_for(error)
            except (TamperedError, TenantRequired) as error:
                outcome.broken.append(str(error))
            except CmkError as error:
                outcome.not_tried[str(error)] = None
        return outcome

    def _open(self, column: SealedColumn, reader: ColumnReader, sample: Sample) -> None:
        source = tenant_source(column.table) if column.is_tenants else None
        owner = PLATFORM_TENANT if source is None else source.name(sample.owner)
        dek_id = (
            bytes(sample.stored[1:HEADER_BYTES]) if isinstance(sample.stored, bytes | memoryview) else b""
        )
        if dek_id in self._out_of_reach:
            raise self._out_of_reach[dek_id]
        identity = b""
        if column.scheme.row_bound:
            identity = identity_of(column.table).encoder()(sample.identity)
        try:
            value = reader.read_one(sample.stored, owner, identity)
        except KeyUnavailable as error:
            self._out_of_reach[dek_id] = error
            raise
        if isinstance(value, Sealed):
            raise KeyRevoked(value.reason, value.tenant)


def _under_the_platforms_key(tables: list[Table]) -> Iterator[Finding]:
    """Name what no tenant's revocation closes, though tenants' values are kept in the same metadata."""
    for table in tables:
        columns = [column for column in sealed_columns(table).values() if not column.is_tenants]
        if columns:
            names = ", ".join(column.column.name for column in columns)
            why = "__cmk_tenant__ = None" if tenant_source(table) is None else 'owner="platform"'
            yield Finding(
                Level.OK,
                table.fullname,
                f"{names}: under the platform's key ({why}): the values still open after a tenant revokes "
                "their key",
            )


def _samples(connection: Connection, table: Table) -> list[tuple[SealedColumn, list[Sample]]]:
    """Return for each sealed column some stored values, each with what its row says."""
    source = tenant_source(table)
    owners = _owners(connection, source.column) if source is not None and _is_indexed(source) else [ANY]
    samples = []
    for column in sealed_columns(table).values():
        rows: list[Sample] = []
        for owner in owners:
            query = _query(column, source)
            if source is not None and owner is not ANY:
                query = query.where(source.column == owner)
            found = connection.execute(query.limit(1)).first()
            rows += [] if found is None else [Sample(found[0], found[1], tuple(found[2:]))]
        samples.append((column, rows))
    return samples


def _query(sealed: SealedColumn, source: TenantSource | None) -> Select[Any]:
    # Without a type of its own the value comes as the driver gives it, whatever was written there.
    column = sealed.column
    bound = identity_of(sealed.table).columns if sealed.scheme.row_bound else ()
    owner = null() if source is None else source.column
    query = select(type_coerce(column, NullType()), owner, *bound).where(column.is_not(None))
    if source is None or source.table is source.rows:
        return query
    return query.select_from(source.rows.join(source.table, source.same_row))


def _is_indexed(source: TenantSource) -> bool:
    """Return whether the database finds a tenant's rows, and the next tenant, without scanning the table."""
    table, column = source.table, source.column
    if source.rows is not table or not isinstance(column.type, String | Integer | Uuid):
        return False
    keys: list[Iterable[Any]] = [table.primary_key, *(index.expressions for index in table.indexes)]
    keys += [one for one in table.constraints if isinstance(one, UniqueConstraint)]
    return any(next(iter(key), None) is column for key in keys)


def _owners(connection: Connection, column: Column[Any]) -> list[Any]:
    """Return the first tenants of a table in the order of the index, by one short query for each."""
    owners: list[Any] = []
    query = select(column).where(column.is_not(None)).order_by(column).limit(1)
    while len(owners) < MAX_TENANTS:
        found = connection.execute(query.where(column > owners[-1]) if owners else query).first()
        if found is None:
            break
        owners.append(found[0])
    return owners


def _findings(where: str, outcome: Outcome) -> Iterator[Finding]:
    for what in outcome.broken:
        yield Finding(Level.PROBLEM, where, what, RESTORE)
    for what in outcome.not_tried:
        yield Finding(Level.WARNING, where, f"not tried: {what}", "fix that, and run cmk doctor again")
    for what, remedy in sorted(outcome.refused.items()):
        yield Finding(Level.WARNING, where, f"sealed: {what}", remedy)
    if outcome.opened:
        yield Finding(
            Level.OK,
            where,
            f"opens, tried on {outcome.opened} stored value{'s' if outcome.opened > 1 else ''}",
        )
    elif outcome.shredded:
        yield Finding(Level.OK, where, "every sampled value belongs to a shredded tenant")
    elif outcome == Outcome():
        yield Finding(Level.OK, where, "holds no value yet")
