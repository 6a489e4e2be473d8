"""Reads and writes tenants, DEKs and wrappings in SQL; every method is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Select, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.manifest.manifest import Manifests
from sqlalchemy_cmk.keys.model import DekState, TenantState
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys, TenantRecord
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.reader import KeyReader
from sqlalchemy_cmk.keys.storage.rows import dek_columns, tenant_columns, wrapping_columns
from sqlalchemy_cmk.runtime.clock import as_utc, this_second, utc_now
from sqlalchemy_cmk.scope import PLATFORM_TENANT

SEEN_EVERY = timedelta(minutes=10)


class KeyStore:
    """Reads and writes tenants' keys.

    Args:
        database: the database of the key tables.
        audit: records every change, in the transaction of the change.
        manifests: authenticates what is written, and verifies what is read.

    Every method raises :class:`KeyUnavailable` when the tables cannot be reached or written now,
    :class:`ConfigurationError` when they do not exist, and :class:`TamperedError` when they do not hold what
    was written there.
    """

    def __init__(self, database: KeyDatabase, audit: AuditTrail, manifests: Manifests) -> None:
        self._database = database
        self._audit = audit
        self._manifests = manifests
        self._tables = database.tables
        self._reader = KeyReader(database, manifests)

    def keys_of(self, tenant: str) -> TenantKeys | None:
        """Return a tenant's keys, or ``None`` if it has none yet."""
        return self._reader.of(tenant)

    def keys_with(self, dek_id: bytes) -> TenantKeys | None:
        """Return the keys of the tenant whose DEK this is, or ``None`` if there is no such DEK."""
        return self._reader.having(dek_id)

    def every(self) -> Iterator[tuple[str, TenantKeys | TamperedError]]:
        """Return each tenant's name with its keys, or with what is wrong with them."""
        return self._reader.every()

    def active_ids(self) -> set[bytes]:
        """Return the ids of every tenant's active DEKs."""
        deks = self._tables.deks
        statement = select(deks.c.id).where(deks.c.state == DekState.ACTIVE)
        return {bytes(one) for one in self._database.run(lambda c: c.execute(statement).scalars().all())}

    def settled_ids(self, *, platform: bool) -> Select[Any]:
        """Return the query of the ids of every DEK under which no row has to be re-encrypted: not retired.

        Args:
            platform: those of the platform; otherwise those of all tenants.
        """
        deks = self._tables.deks
        owned = deks.c.tenant == PLATFORM_TENANT if platform else deks.c.tenant != PLATFORM_TENANT
        return select(deks.c.id).where(deks.c.state != DekState.RETIRED, owned)

    def shredded_tenants(self) -> set[str]:
        """Return the names of the tenants whose keys were destroyed."""
        t = self._tables.tenants
        statement = select(t.c.tenant).where(t.c.state == TenantState.SHREDDED)
        return set(self._database.run(lambda c: c.execute(statement).scalars().all()))

    def tenants_with_keys(self) -> list[str]:
        """Return the names of the tenants whose keys were not destroyed, in their order."""
        t = self._tables.tenants
        statement = select(t.c.tenant).where(t.c.state != TenantState.SHREDDED).order_by(t.c.tenant)
        return list(self._database.run(lambda c: c.execute(statement).scalars().all()))

    def dek_states(self) -> dict[bytes, DekState]:
        """Return the state of every DEK that exists or existed, by its id."""
        d = self._tables.deks
        rows = self._database.run(lambda c: c.execute(select(d.c.id, d.c.state)).all())
        known = {state.value: state for state in DekState}
        if any(state not in known for _, state in rows):
            raise TamperedError("the table of DEKs has a state that does not exist")
        return {bytes(dek_id): known[state] for dek_id, state in rows}

    def keks_in_use(self) -> set[str]:
        """Return the URIs of the KEKs that wrap any DEK."""
        statement = select(self._tables.wrappings.c.kek_uri).distinct()
        return {row[0] for row in self._database.run(lambda c: c.execute(statement).all())}

    def is_authenticated(self) -> bool:
        """Return whether anything is authenticated by a record key."""
        t = self._tables.tenants
        return bool(self._database.run(lambda c: c.scalar(select(exists().where(t.c.manifest.is_not(None))))))

    def add_tenant(self, tenant: str, kek_uri: str) -> TenantKeys:
        """Add a tenant and return it; where another process was first, return what that one wrote.

        Raises:
            TamperedError: it had keys once, and they were removed from the key tables.
        """
        if self._audit.knows(tenant):
            # Another process may have added it since its caller looked.
            theirs = self.keys_of(tenant)
            if theirs is not None:
                return theirs
            raise TamperedError(
                f"the keys of tenant {tenant!r} were removed from the table of tenants: the audit trail "
                "records them; restore them from a backup"
            )
        now = this_second()
        keys = TenantKeys(TenantRecord(tenant, kek_uri, now, state_since=now))
        columns = tenant_columns(keys.tenant, self._manifests.make(keys))
        new = insert(self._tables.tenants).values(tenant=tenant, **columns)
        with suppress(IntegrityError):
            self._database.run(lambda connection: connection.execute(new))
        return self.keys_of(tenant) or keys

    def apply(self, keys: TenantKeys, change: KeyChange, *, wait_for_lock: bool = True) -> bool:
        """Commit a change of a tenant's keys; return ``False`` if another process changed them first.

        Args:
            keys: the keys that the change was planned for.
            change: the change.
            wait_for_lock: as for :meth:`KeyDatabase.run`.
        """
        after = keys.changed(change, this_second())
        columns = tenant_columns(after.tenant, self._manifests.make(after))
        events = [replace(one, epoch=after.tenant.epoch) for one in change.events]

        def work(connection: Connection) -> bool:
            # Advancing the epoch locks the tenant's row: changes to its keys happen one after the other.
            t = self._tables.tenants
            expected = (t.c.tenant == keys.tenant.name, t.c.epoch == keys.tenant.epoch)
            if connection.execute(update(t).where(*expected).values(**columns)).rowcount != 1:
                return False
            self._write_deks(connection, keys, after)
            self._audit.append(connection, events)
            return True

        try:
            done = self._database.run(work, wait_for_lock=wait_for_lock)
        except IntegrityError:
            return False
        if done:
            self._reader.note_epoch(after)
        return done

    def adopt(self, tenant: str, event: AuditEvent) -> bool:
        """Authenticate what the tables hold of a tenant, whatever it is.

        Only an operator who has looked at it may ask for this. Returns ``False`` if another process changed
        it meanwhile.
        """
        keys = self._reader.unverified(tenant)
        return keys is None or self.apply(keys, KeyChange((event,)))

    def tenants_not_under(self, key_id: str) -> list[str]:
        """Return the names of the tenants whose manifests another record key has made, or none."""
        t = self._tables.tenants
        other = t.c.record_key.is_distinct_from(key_id)
        statement = select(t.c.tenant).where(other).order_by(t.c.tenant)
        return list(self._database.run(lambda c: c.execute(statement).scalars().all()))

    def note_state(self, tenant: str, state: TenantState, event: AuditEvent) -> None:
        """Record that a tenant's KEK refuses, or that it opens again, unless that is recorded already."""
        keys = self.keys_of(tenant)
        if keys is None or keys.tenant.state in (state, TenantState.SHREDDED):
            return
        reason = event.detail if state is TenantState.REVOKED else None
        # Where another process changes the keys meanwhile, the next refusal or opening is noted.
        self.apply(
            keys,
            KeyChange((event,), replace(keys.tenant, state=state, reason=reason)),
            wait_for_lock=False,
        )

    def is_seen(self, keys: TenantKeys) -> bool:
        """Return whether :meth:`note_seen` was called for a tenant in the last ten minutes."""
        return keys.seen_at is not None and utc_now() - as_utc(keys.seen_at) <= SEEN_EVERY

    def note_seen(self, tenant: str) -> None:
        """Record that a tenant's KEK has just opened a DEK."""
        t = self._tables.tenants
        seen = update(t).where(t.c.tenant == tenant).values(seen_at=utc_now())
        self._database.run(lambda connection: connection.execute(seen), wait_for_lock=False)

    def _write_deks(self, connection: Connection, before: TenantKeys, after: TenantKeys) -> None:
        deks, wrappings = self._tables.deks, self._tables.wrappings
        known = {one.id: one for one in before.deks}
        # A DEK that retires makes room for the new active one.
        for dek in sorted(after.deks, key=lambda one: one.id not in known):
            was = known.get(dek.id)
            if was is None:
                connection.execute(insert(deks).values(**dek_columns(dek)))
            elif replace(dek, wrappings=was.wrappings) != was:
                connection.execute(update(deks).where(deks.c.id == dek.id).values(**dek_columns(dek)))
            if was is None or dek.wrappings != was.wrappings:
                connection.execute(wrappings.delete().where(wrappings.c.dek_id == dek.id))
                if dek.wrappings:
                    connection.execute(insert(wrappings), wrapping_columns(dek))
