"""Whether sealed columns open: one stored value of each is opened, and thrown away.

Rows are read first and opened afterwards, so that no KEK is asked while a connection is held. Where an index
leads with the tenant column a value of each tenant is opened, of :data:`MOST_TENANTS` at most.
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
    and_,
    select,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import NullType

from sqlalchemy_cmk.cli.output import plural
from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import CmkError, KeyRevoked, KeyUnavailable, TamperedError, TenantRequired
from sqlalchemy_cmk.keys.examination import Examination
from sqlalchemy_cmk.orm.tenants import TenantSource, sealed_columns, tenant_source
from sqlalchemy_cmk.providers import Finding, Level
from sqlalchemy_cmk.rekey.conflicts import complaint
from sqlalchemy_cmk.sealing import HEADER_BYTES

MOST_TENANTS = 20
ANY = object()
RESTORE = "restore it from a backup, and find out who can write to the database"


@dataclass(slots=True)
class Outcome:
    """What came of the samples of one column."""

    opened: int = 0
    refused: set[str] = field(default_factory=set)
    shredded: int = 0
    not_tried: dict[str, None] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class ColumnExamination:
    """Opens one value of each sealed column.

    Args:
        examination: where the protected tables are.
        shredded: tenants whose values are not meant to open.
    """

    def __init__(self, examination: Examination, shredded: set[str]) -> None:
        self._examination = examination
        self._shredded = shredded
        # A KEK that cannot be reached is waited for once, not once for every column.
        self._out_of_reach: dict[bytes, KeyUnavailable] = {}

    def findings(self) -> Iterator[Finding]:
        """Look at every sealed column of every protected table."""
        for metadata in self._examination.protected:
            for table in metadata.tables.values():
                if sealed_columns(table):
                    yield from self._table(table)

    def _table(self, table: Table) -> Iterator[Finding]:
        try:
            samples = self._examination.run(lambda connection: _samples(connection, table))
        except (CmkError, OSError, SQLAlchemyError) as error:
            mend = "make the table as the models declare it, and let the account read it"
            yield Finding(Level.PROBLEM, table.fullname, f"cannot be read: {complaint(error)}", mend)
            return
        for column, rows in samples:
            yield from _findings(column.where, self._outcome(column, rows))

    def _outcome(self, column: SealedColumn, rows: list[tuple[Any, Any]]) -> Outcome:
        outcome = Outcome()
        for stored, owner in rows:
            try:
                self._open(column, stored, owner)
                outcome.opened += 1
            except KeyRevoked as error:
                if error.tenant in self._shredded:
                    outcome.shredded += 1
                else:
                    outcome.refused.add(str(error))
            except (TamperedError, TenantRequired) as error:
                outcome.broken.append(str(error))
            except CmkError as error:
                outcome.not_tried[str(error)] = None
        return outcome

    def _open(self, column: SealedColumn, stored: Any, owner: Any) -> None:
        source = tenant_source(column.table)
        name = None if source is None else source.name(owner)
        dek_id = bytes(stored[1:HEADER_BYTES]) if isinstance(stored, bytes | memoryview) else b""
        if dek_id in self._out_of_reach:
            raise self._out_of_reach[dek_id]
        try:
            column.open(stored)
            # Raises where the value came as a Sealed, too.
            dek = column.keyring.dek(dek_id)
        except KeyUnavailable as error:
            self._out_of_reach[dek_id] = error
            raise
        if dek is not None:
            column.check_owner(dek.tenant, dek.id, name)


def _samples(connection: Connection, table: Table) -> list[tuple[SealedColumn, list[tuple[Any, Any]]]]:
    """Return for each sealed column some stored values, each with what its row's tenant column holds."""
    source = tenant_source(table)
    owners = _owners(connection, source.column) if source is not None and _is_indexed(source) else [ANY]
    samples = []
    for column in sealed_columns(table).values():
        rows: list[tuple[Any, Any]] = []
        for owner in owners:
            query = _query(column.column, source)
            if source is not None and owner is not ANY:
                query = query.where(source.column == owner)
            found = connection.execute(query.limit(1)).first()
            rows += [] if found is None else [(found[0], found[1] if source is not None else None)]
        samples.append((column, rows))
    return samples


def _query(column: Column[Any], source: TenantSource | None) -> Select[Any]:
    # Without a type of its own the value comes as the driver gives it, whatever was written there.
    query = select(type_coerce(column, NullType())).where(column.is_not(None))
    if source is None:
        return query
    query = query.add_columns(source.column)
    if source.table is source.rows:
        return query
    pairs = zip(source.keys, source.table.primary_key, strict=True)
    same_row = and_(*(ours == theirs for ours, theirs in pairs))
    return query.select_from(source.rows.join(source.table, same_row))


def _is_indexed(source: TenantSource) -> bool:
    """Tell whether the database finds a tenant's rows, and the next tenant, without reading the table."""
    table, column = source.table, source.column
    if source.rows is not table or not isinstance(column.type, String | Integer | Uuid):
        return False
    keys: list[Iterable[Any]] = [table.primary_key, *(index.expressions for index in table.indexes)]
    keys += [one for one in table.constraints if isinstance(one, UniqueConstraint)]
    return any(next(iter(key), None) is column for key in keys)


def _owners(connection: Connection, column: Column[Any]) -> list[Any]:
    """Return the first tenants of a table in the order of the index, one short look for each."""
    owners: list[Any] = []
    query = select(column).where(column.is_not(None)).order_by(column).limit(1)
    while len(owners) < MOST_TENANTS:
        found = connection.execute(query.where(column > owners[-1]) if owners else query).first()
        if found is None:
            break
        owners.append(found[0])
    return owners


def _findings(where: str, outcome: Outcome) -> Iterator[Finding]:
    for what in outcome.broken:
        yield Finding(Level.PROBLEM, where, what, RESTORE)
    for what in outcome.not_tried:
        yield Finding(Level.WARNING, where, f"not tried: {what}", "mend that, and run doctor again")
    for what in sorted(outcome.refused):
        yield Finding(Level.WARNING, where, f"sealed: {what}", "the KEK's owner has to give access back")
    if outcome.opened:
        yield Finding(
            Level.OK,
            where,
            f"opens, tried on {plural(outcome.opened, 'stored value')}",
        )
    elif outcome.shredded:
        yield Finding(Level.OK, where, "holds values of shredded tenants only, as far as was looked")
    elif outcome == Outcome():
        yield Finding(Level.OK, where, "holds no value yet")
