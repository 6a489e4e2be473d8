"""The tenants, DEKs and wrappings in SQL: every method is one transaction on the keyring's connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.keys.audit import AuditTrail
from sqlalchemy_cmk.keys.audit_chain import AuditEvent
from sqlalchemy_cmk.keys.database import KeyDatabase
from sqlalchemy_cmk.keys.model import (
    DekRecord,
    DekState,
    KeyChange,
    Purpose,
    TenantLine,
    TenantRecord,
    TenantState,
)
from sqlalchemy_cmk.keys.moments import aware, now
from sqlalchemy_cmk.providers.base import Wrapped

SEEN_EVERY = timedelta(minutes=10)


class KeyStore:
    """Reads and writes tenants, DEKs and wrappings.

    Args:
        database: where the key tables are.
        audit: told of every change, in the change's own transaction.

    Every method raises :class:`KeyUnavailable` when the tables cannot be reached or written now, and
    :class:`ConfigurationError` when they do not exist.
    """

    def __init__(self, database: KeyDatabase, audit: AuditTrail) -> None:
        self._database = database
        self._audit = audit
        self._tables = database.tables

    def dek(self, dek_id: bytes) -> DekRecord | None:
        """Return a DEK by its id, with its wrappings, in one statement."""
        return self._one(self._select_deks().where(self._tables.deks.c.id == dek_id))

    def active_dek(self, tenant: str, purpose: Purpose) -> DekRecord | None:
        """Return a tenant's active DEK for a purpose, with its wrappings, in one statement."""
        deks = self._tables.deks
        return self._one(
            self._select_deks().where(
                deks.c.tenant == tenant, deks.c.purpose == purpose, deks.c.state == DekState.ACTIVE
            )
        )

    def active_ids(self) -> set[bytes]:
        """Return the ids of every tenant's active DEKs."""
        deks = self._tables.deks
        statement = select(deks.c.id).where(deks.c.state == DekState.ACTIVE)
        return {bytes(one) for one in self._database.run(lambda c: c.execute(statement).scalars().all())}

    def living_deks(self, tenant: str) -> list[DekRecord]:
        """Return the DEKs of a tenant that have not been destroyed."""
        deks = self._tables.deks
        living = self._select_deks().where(deks.c.tenant == tenant, deks.c.state != DekState.DESTROYED)
        return _records(self._database.run(lambda c: c.execute(living.order_by(deks.c.id)).all()))

    def tenant(self, tenant: str) -> TenantRecord | None:
        """Return a tenant, or ``None`` where it has no keys yet."""
        t = self._tables.tenants
        statement = select(t.c.tenant, t.c.kek_uri, t.c.epoch, t.c.state).where(t.c.tenant == tenant)
        row = self._database.run(lambda connection: connection.execute(statement).first())
        return TenantRecord(row[0], row[1], row[2], TenantState(row[3])) if row else None

    def tenants(self) -> list[TenantLine]:
        """Return every tenant with its state and the KEK versions that wrap its DEKs."""
        t = self._tables.tenants
        columns = (t.c.tenant, t.c.kek_uri, t.c.state, t.c.reason, t.c.state_since, t.c.seen_at)
        rows = self._database.run(lambda c: c.execute(select(*columns).order_by(t.c.tenant)).all())
        return [
            TenantLine(row[0], row[1], TenantState(row[2]), row[3], aware(row[4]), row[5] and aware(row[5]))
            for row in rows
        ]

    def dek_counts(self) -> list[tuple[str, str, int]]:
        """Return tenant, DEK state and how many."""
        d = self._tables.deks
        statement = select(d.c.tenant, d.c.state, func.count()).group_by(d.c.tenant, d.c.state)
        return [(*row,) for row in self._database.run(lambda c: c.execute(statement).all())]

    def dek_states(self) -> dict[bytes, DekState]:
        """Return every DEK there is or was, by its id."""
        d = self._tables.deks
        rows = self._database.run(lambda c: c.execute(select(d.c.id, d.c.state)).all())
        return {bytes(dek_id): DekState(state) for dek_id, state in rows}

    def wrapping_versions(self) -> list[tuple[str, str, str]]:
        """Return the distinct tenant, KEK URI and KEK version of every wrapping."""
        d, w = self._tables.deks, self._tables.wrappings
        statement = select(d.c.tenant, w.c.kek_uri, w.c.kek_version).join(w, w.c.dek_id == d.c.id).distinct()
        return [(*row,) for row in self._database.run(lambda c: c.execute(statement).all())]

    def add_tenant(self, tenant: str, kek_uri: str) -> TenantRecord:
        """Write a tenant that is not there yet; the one who was first wins."""
        new = insert(self._tables.tenants).values(tenant=tenant, kek_uri=kek_uri, epoch=0)
        with suppress(IntegrityError):
            self._database.run(lambda connection: connection.execute(new))
        return self.tenant(tenant) or TenantRecord(tenant, kek_uri, 0)

    def keks_in_use(self) -> set[str]:
        """Return the KEKs that wrap anything."""
        statement = select(self._tables.wrappings.c.kek_uri).distinct()
        return {row[0] for row in self._database.run(lambda c: c.execute(statement).all())}

    def apply(self, owner: TenantRecord, change: KeyChange) -> bool:
        """Commit a change of a tenant's keys; ``False`` where somebody else changed them first."""

        def work(connection: Connection) -> bool:
            if not self._advance(connection, owner, change):
                return False
            retired = {"state": DekState.RETIRED, "active_slot": None, "retired_at": now()}
            for dek_id in change.retire:
                connection.execute(self._dek(dek_id).values(retired))
            for dek_id in change.destroy:
                connection.execute(self._dek(dek_id).values(state=DekState.DESTROYED, active_slot=None))
            for dek in change.new:
                columns = {"id": dek.id, "tenant": dek.tenant, "purpose": dek.purpose, "state": dek.state}
                connection.execute(insert(self._tables.deks).values(**columns, active_slot=1))
                self._wrap(connection, dek.id, dek.wrappings)
            for dek_id, wrappings in change.wrappings.items():
                self._wrap(connection, dek_id, wrappings)
            self._audit.append(connection, change.events)
            return True

        try:
            return self._database.run(work)
        except IntegrityError:
            return False

    def note_refused(self, tenant: str, event: AuditEvent) -> None:
        """Note that a tenant's KEK refuses, unless that is known."""
        values = {"state": TenantState.REVOKED, "reason": event.detail, "state_since": now()}
        known_ok = self._tables.tenants.c.state == TenantState.OK
        self._note(tenant, known_ok, values, event)

    def is_news(self, record: DekRecord) -> bool:
        """Tell whether :meth:`note_opened` has something to write."""
        known = record.seen_at is not None and now() - aware(record.seen_at) <= SEEN_EVERY
        return record.tenant_state is TenantState.REVOKED or not known

    def note_opened(self, record: DekRecord, event: AuditEvent) -> None:
        """Note that a tenant's KEK opened a DEK, and that it did so again if it had refused before."""
        t = self._tables.tenants
        if record.tenant_state is TenantState.REVOKED:
            values = {"state": TenantState.OK, "reason": None, "state_since": now(), "seen_at": now()}
            self._note(record.tenant, t.c.state == TenantState.REVOKED, values, event)
        else:
            seen = update(t).where(t.c.tenant == record.tenant).values(seen_at=now())
            self._database.run(lambda connection: connection.execute(seen), patient=False)

    def _note(
        self, tenant: str, where: ColumnElement[bool], values: dict[str, Any], event: AuditEvent
    ) -> None:
        table = self._tables.tenants
        change = update(table).where(table.c.tenant == tenant, where).values(**values)

        def work(connection: Connection) -> None:
            if connection.execute(change).rowcount:
                self._audit.append(connection, [event])

        self._database.run(work, patient=False)

    def _advance(self, connection: Connection, owner: TenantRecord, change: KeyChange) -> bool:
        """Take the tenant's next epoch, which locks its row: changes to its keys come one by one."""
        table = self._tables.tenants
        values: dict[str, Any] = {"epoch": owner.epoch + 1, "kek_uri": change.kek_uri or owner.kek_uri}
        if change.state is not None and change.state is not owner.state:
            values |= {"state": change.state, "reason": None, "state_since": now()}
        expected = (table.c.tenant == owner.name, table.c.epoch == owner.epoch)
        return connection.execute(update(table).where(*expected).values(**values)).rowcount == 1

    def _dek(self, dek_id: bytes) -> Any:
        return update(self._tables.deks).where(self._tables.deks.c.id == dek_id)

    def _wrap(self, connection: Connection, dek_id: bytes, wrappings: Iterable[Wrapped]) -> None:
        """Put these wrappings in place of all that a DEK has."""
        table = self._tables.wrappings
        connection.execute(table.delete().where(table.c.dek_id == dek_id))
        for one in wrappings:
            columns = {"kek_version": one.kek_version, "algorithm": one.algorithm, "wrapped": one.data}
            connection.execute(insert(table).values(dek_id=dek_id, kek_uri=one.kek_uri, **columns))

    def _select_deks(self) -> Select[Any]:
        d, w, t = self._tables.deks, self._tables.wrappings, self._tables.tenants
        dek = (d.c.id, d.c.tenant, d.c.purpose, d.c.state, t.c.state, t.c.seen_at, d.c.retired_at)
        wrapping = (w.c.kek_uri, w.c.kek_version, w.c.algorithm, w.c.wrapped)
        joined = d.join(t, t.c.tenant == d.c.tenant).outerjoin(w, w.c.dek_id == d.c.id)
        return select(*dek, *wrapping).select_from(joined)

    def _one(self, statement: Select[Any]) -> DekRecord | None:
        records = _records(self._database.run(lambda connection: connection.execute(statement).all()))
        return records[0] if records else None


def _records(rows: Sequence[Row[Any]]) -> list[DekRecord]:
    found: dict[bytes, DekRecord] = {}
    for row in rows:
        dek_id, tenant, purpose, state, tenant_state, seen_at, retired_at, *wrapped = tuple[Any, ...](row)
        kek_uri, version, algorithm, data = wrapped
        key = bytes(dek_id)
        # Text in its place was not written by this library; it unwraps to an error.
        raw = data.encode() if isinstance(data, str) else bytes(data or b"")
        wrapping = () if kek_uri is None else (Wrapped(kek_uri, version, algorithm, raw),)
        before = found[key].wrappings if key in found else ()
        about = (tenant, Purpose(purpose), DekState(state))
        state_of_tenant, retired = TenantState(tenant_state), retired_at and aware(retired_at)
        found[key] = DekRecord(key, *about, before + wrapping, state_of_tenant, seen_at, retired)
    return list(found.values())
