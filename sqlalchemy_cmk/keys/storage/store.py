"""Reads and writes tenants, DEKs and wrappings in SQL; every method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection, false, update
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.errors import CmkError, TamperedError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.events.tampering import Tampering
from sqlalchemy_cmk.keys.manifest.manifest import Manifests
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys, TenantRecord
from sqlalchemy_cmk.keys.storage.database import KeyDatabase, waits_for_lock
from sqlalchemy_cmk.keys.storage.locks import LockRow
from sqlalchemy_cmk.keys.storage.reader import PAGE, KeyReader, Page
from sqlalchemy_cmk.keys.storage.tenant_filter import EVERY, TenantFilter
from sqlalchemy_cmk.keys.storage.unverified import UnverifiedKeys
from sqlalchemy_cmk.keys.storage.writer import KeyWriter, OtherWasFirst, PlannedChange
from sqlalchemy_cmk.runtime.clock import as_utc, this_second, utc_now

SEEN_EVERY = timedelta(minutes=10)


class KeyStore(UnverifiedKeys):
    """Reads and writes tenants' keys; see :class:`UnverifiedKeys` for what it reads without verifying it.

    Args:
        database: the database of the key tables.
        audit: records every change, in the transaction of the change.
        manifests: authenticates what is written, and verifies what is read.
        tampering: notes keys that were altered.

    Every method raises :class:`KeyUnavailable` when the tables cannot be reached or written now,
    :class:`ConfigurationError` when they do not exist, and :class:`TamperedError` when they do not hold what
    was written there.
    """

    def __init__(
        self, database: KeyDatabase, audit: AuditTrail, manifests: Manifests, tampering: Tampering
    ) -> None:
        super().__init__(database)
        self._audit = audit
        self._manifests = manifests
        self._reader = KeyReader(database, manifests, tampering)
        self._writer = KeyWriter(database.tables)
        self._locks = LockRow(database)

    def keys_of(self, tenant: str) -> TenantKeys | None:
        """Return a tenant's keys, or ``None`` if it has none yet."""
        return self._reader.of(tenant)

    def keys_of_all(self, tenants: Iterable[str]) -> dict[str, TenantKeys | CmkError | None]:
        """Return by tenant its keys, ``None`` if it has none, or the error that says what is wrong."""
        return {**self._reader.of_all(tenants)}

    def keys_with(self, dek_id: bytes) -> TenantKeys | None:
        """Return the keys of the tenant whose DEK this is, or ``None`` if there is no such DEK."""
        found = self.keys_with_all([dek_id])[dek_id]
        try:
            if isinstance(found, CmkError):
                raise found
            return found
        finally:
            del found  # an error's traceback holds this frame, which must not hold the error

    def keys_with_all(self, dek_ids: Iterable[bytes]) -> dict[bytes, TenantKeys | CmkError | None]:
        """Return by DEK the keys of its tenant, ``None`` if there is none, or what is wrong."""
        return {**self._reader.having_all(dek_ids)}

    def pages(self, which: TenantFilter = EVERY, size: int = PAGE) -> Iterator[Page]:
        """Return pages of tenants' names, each with its keys, or with what is wrong with them."""
        return self._reader.pages(which, size)

    def start_anew(self) -> None:
        """Forget what was seen of the tables: this process has dropped them."""
        self._reader.start_anew()

    def new_tenants(self, tenants: Collection[str], kek_uri: str) -> dict[str, TenantKeys | CmkError]:
        """Return the keys, empty yet, of tenants that have none; their first change puts them into tables.

        Where another process has put one there meanwhile, its keys are returned; an error where a tenant had
        keys once, and they were removed.
        """
        now = this_second()
        found: dict[str, TenantKeys | CmkError] = {
            name: TenantKeys(TenantRecord(name, kek_uri, now, state_since=now), stored=False)
            for name in tenants
        }
        known = self._audit.known(found)
        for name, keys in self.keys_of_all(known).items():
            found[name] = keys or TamperedError(
                f"the keys of tenant {name!r} were removed from the table of tenants: the audit trail "
                "records them; restore them from a backup"
            )
        return found

    def apply(self, keys: TenantKeys, change: KeyChange, *, wait_for_lock: bool = True) -> bool:
        """Commit a change of a tenant's keys; return ``False`` if another process changed them first.

        Args:
            keys: the keys that the change was planned for.
            change: the change.
            wait_for_lock: as for :meth:`KeyDatabase.run`.
        """
        return bool(self.apply_all([(keys, change)], wait_for_lock=wait_for_lock))

    def apply_all(
        self, plans: Sequence[tuple[TenantKeys, KeyChange]], *, wait_for_lock: bool = True
    ) -> set[str]:
        """Commit changes of several tenants' keys in one transaction, with their events.

        Args:
            plans: for each tenant the keys that a change was planned for, and the change.
            wait_for_lock: as for :meth:`KeyDatabase.run`.

        Returns:
            The tenants whose change is committed: not those whose keys another process changed first.

        Raises:
            ConfigurationError: the application wants to know why, and nobody has said so.
        """
        self._audit.require_reasons(event for _, change in plans for event in change.events)
        now = this_second()
        after = [keys.changed(change, now) for keys, change in plans]
        manifests = self._manifests.make_all(after)
        planned = [
            PlannedChange(keys, changed, manifest, change.events, change.beside)
            for (keys, change), changed, manifest in zip(plans, after, manifests, strict=True)
        ]
        # Always in one order, so that two processes do not wait for each other.
        planned.sort(key=lambda one: one.tenant)

        def work(connection: Connection) -> list[PlannedChange]:
            done = self._writer.write(connection, planned)
            self._locks.note(connection, ((one.before.tenant.state, one.after.tenant.state) for one in done))
            self._audit.append(connection, [event for one in done for event in one.events])
            return done

        try:
            committed = self._database.run(work, wait_for_lock=wait_for_lock)
        except (IntegrityError, OtherWasFirst):
            if len(plans) == 1:
                return set()
            return set().union(*(self.apply_all([one], wait_for_lock=wait_for_lock) for one in plans))
        for one in committed:
            self._reader.note_epoch(one.after)
        return {one.tenant for one in committed}

    def require_writable(self) -> None:
        """Find out, where nobody waits for the lock on the whole database, whether somebody else has it.

        Raises:
            DatabaseLocked: somebody has.
        """
        if not waits_for_lock() and self._database.has_one_writer:
            self.take_lock()

    def take_lock(self) -> None:
        """Take the lock on the whole database, and change nothing.

        Raises:
            DatabaseLocked: somebody else has it.
        """
        t = self._tables.tenants
        nothing = update(t).where(false()).values(tenant=t.c.tenant)
        self._database.run(lambda connection: connection.execute(nothing))

    def adopt(self, tenant: str, event: AuditEvent) -> bool:
        """Authenticate what the tables hold of a tenant, whatever it is.

        Only an operator who has looked at it may ask for this. Returns ``False`` if another process changed
        it meanwhile.
        """
        keys = self._reader.unverified(tenant)
        return keys is None or self.apply(keys, KeyChange((event,)))

    def note_state(self, tenant: str, state: TenantState, event: AuditEvent) -> None:
        """Record that a tenant's KEK refuses, or that it opens again, unless that is recorded already."""
        keys = self.keys_of(tenant)
        if keys is None or keys.tenant.state in (state, TenantState.LOCKED, TenantState.SHREDDED):
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

    def note_seen(self, tenants: Collection[str]) -> None:
        """Record that tenants' KEKs have just opened a DEK."""
        t = self._tables.tenants
        for part in TenantFilter(tuple(tenants)).parts(PAGE):
            seen = update(t).where(*part.criteria(self._tables)).values(seen_at=utc_now())
            self._database.run(partial(Connection.execute, statement=seen), wait_for_lock=False)
