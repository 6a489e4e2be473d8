"""The keys of one engine: its key tables, its opened DEKs, and what opens them. See :class:`EngineKeys`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from sqlalchemy import Engine, event

from sqlalchemy_cmk.keys.approvals.two_people import TwoPeople
from sqlalchemy_cmk.keys.audit.authentic import AuthenticRows
from sqlalchemy_cmk.keys.audit.authentication import Authentication
from sqlalchemy_cmk.keys.audit.rows import TrailRows
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.binding.settings import Settings
from sqlalchemy_cmk.keys.events.announcements import Announcements
from sqlalchemy_cmk.keys.events.courier import Courier
from sqlalchemy_cmk.keys.events.deliveries import Deliveries
from sqlalchemy_cmk.keys.events.expiry import ExpiryWatch
from sqlalchemy_cmk.keys.events.outbox import Outbox
from sqlalchemy_cmk.keys.events.sender import Sender
from sqlalchemy_cmk.keys.events.tampering import Altered, Tampering
from sqlalchemy_cmk.keys.indexes.catalogue import IndexCatalogue
from sqlalchemy_cmk.keys.indexes.users import TokenUsers
from sqlalchemy_cmk.keys.lifecycle.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.lifecycle.locking import Locking
from sqlalchemy_cmk.keys.manifest.manifest import Manifests
from sqlalchemy_cmk.keys.manifest.record_key import record_keys_of
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.key_batch import KeyBatch
from sqlalchemy_cmk.keys.opening.lock_listener import LockListener
from sqlalchemy_cmk.keys.opening.lock_watch import LockWatch
from sqlalchemy_cmk.keys.opening.longest_use import LongestUse
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.opener import Opener
from sqlalchemy_cmk.keys.opening.prover import Prover
from sqlalchemy_cmk.keys.opening.questions import ActiveDek, Question
from sqlalchemy_cmk.keys.opening.refresher import Refresher
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.opening.uncommitted import Uncommitted
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.ownership import Ownership
from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.locks import LockRow
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from sqlalchemy_cmk.runtime.forks import watch_forks

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class EngineKeys:
    """What a keyring has for one of its engines. Statements seal and open with this.

    The engine keeps it, and with it the keyring, for as long as the engine lives; see :meth:`belong`.

    Args:
        engine: the application's engine.
        settings: the keyring's.

    Attributes:
        engine: the engine itself, not the asynchronous one around it; ``None`` once it is collected.
        reads_without_tenant: whether values may be read where nothing says whose they are.
        clock: returns monotonic seconds, by which deadlines are.
        cache: how long opened DEKs stay usable.
        connections, database, store, audit, record_keys, observations, lifecycle: as in
            :class:`~sqlalchemy_cmk.Keyring`.
        approvals: the requests that wait for a second person.
        indexes: the database's search indexes, as far as they are recorded.
        token_users: which of them have tokens under the DEKs of a purpose.
        opened: the opened keys of this process.
        background: writes what no caller waits for.
        wrapper: wraps and unwraps DEKs.
        ownership: refuses a KEK that does not name the tenant.
        opener: opens DEKs.
        refresher: has those in use proven again before their deadline.
        locks: notices tenants that are locked.
        locking: locks tenants and unlocks them.
        courier: sends key events to webhooks.
        deliveries: the events that wait for webhooks.
    """

    def __init__(self, engine: Engine | AsyncEngine, settings: Settings) -> None:
        self.engine = ref(sync_engine(engine))
        self.reads_without_tenant = settings.reads_without_tenant
        self.clock = settings.clock
        self.cache = settings.cache
        self.opened = OpenedKeys(settings.max_open_keys, settings.clock, settings.cache.revalidate_after)
        telemetry = Telemetry(self.opened, record_exceptions=settings.record_exceptions)
        self._telemetry = telemetry
        self.wrapper = Wrapper(settings.providers, telemetry, settings.policy, settings.calls, settings.clock)
        self.connections = Connections(engine)
        self.database = KeyDatabase(self.connections, settings.table_prefix)
        self.indexes = IndexCatalogue(self.database, settings.clock)
        self.background = BackgroundWriter()
        self.record_keys = record_keys_of(
            settings.record_key, settings.providers, lambda: not self.store.is_authenticated()
        )
        self._settings = settings
        self._rows = AuthenticRows(TrailRows(self.database), Authentication(self.record_keys))
        self._outbox = Outbox(self.database)
        self.courier = Courier(self._outbox, Sender(self._outbox, self._rows, settings.subscribers.webhooks))
        self.deliveries = Deliveries(self._outbox, self.courier)
        self._tampering = Tampering(lambda event: self.audit.soon(event))
        self.audit = self._trail_on(self.database)
        self.store = self._store_on(self.database, self.audit)
        two_people = TwoPeople(self.database, self.store, self.audit, self.record_keys, settings)
        self.approvals = two_people.approvals
        lock_row = None if self.connections.in_memory else LockRow(self.database)
        self.observations = Observations(self.store, self.background, self.audit.soon)
        expiry = ExpiryWatch(self.store, self._rows, self.audit.soon, self.background, settings.platform_key)
        self.wrapper.look_with(expiry.look)
        self.locks = LockWatch(
            settings.cache,
            lock_row,
            self.opened,
            lambda tenants: self.opener.revocations.forget_all(tenants),
            settings.clock,
            self._lock_listener(lock_row) if settings.cache.lock_notify and lock_row else None,
        )
        self.refresher = Refresher(settings.cache, self.opened, self.wrapper.place_of, settings.clock)
        prover = Prover(
            settings.cache,
            self.store,
            self.wrapper,
            self.opened,
            self.audit,
            telemetry,
            self.observations,
            self.refresher,
            self.locks,
            self._tampering,
            settings.clock,
        )
        longest_use = LongestUse(settings.cache.longest_use, self.store)
        maker = Maker(settings.platform_key, self.store, self.wrapper, prover, self.observations, longest_use)
        self.opener = Opener(
            settings.cache, self.store, self.opened, prover, maker, self.audit, settings.clock
        )
        self.refresher.prove_with(self.opener.refresh)
        self._uncommitted = Uncommitted(
            self.database, self.engine, self._store_on, maker.on, prover, self.opened
        )
        self.token_users = TokenUsers(
            self.indexes, lambda: () if self._keyring is None else self._keyring.protected
        )
        self.ownership = Ownership(settings.tenant_tag, settings.platform_key, self.wrapper)
        self.lifecycle = Lifecycle(
            self.store,
            self.wrapper,
            self.ownership,
            self.observations,
            self.opener.forget_all,
            settings.cache.longest_use,
            self.token_users,
            two_people.guard,
            settings.platform_key,
        )
        self.locking = Locking(self.lifecycle.changes, self.locks, two_people.guard)
        self._keyring: Any = None
        watch_forks(self)

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; see :meth:`Keyring.dek`."""
        return self.opened.fresh(dek_id) or self._open(dek_id)

    def open_all(self, questions: Iterable[Question]) -> KeyBatch[Question]:
        """Open DEKs side by side, by their ids or as tenants' active ones; one that fails fails alone."""
        return KeyBatch(self._uncommitted.open_all(questions, self.opener.open_all))

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; see :meth:`Keyring.active`."""
        fresh = self.opened.fresh_active(tenant, purpose)
        # It is made where there is none.
        return fresh or cast(OpenedDek, self._open(ActiveDek(tenant, purpose)))

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's active DEK, and make none; see :meth:`Keyring.existing`."""
        fresh = self.opened.fresh_active(tenant, purpose)
        return fresh or self._open(ActiveDek(tenant, purpose, seals=False))

    def found_altered(self, tenant: str, column: str) -> None:
        """Note that a value is not what was sealed for a tenant; once for a column and process."""
        problem = f"{column}: a sealed value is not what was written there"
        self._tampering.found(tenant, Altered.VALUE, problem)

    def _open(self, question: Question) -> OpenedDek | None:
        return self.open_all((question,))[question]

    def belong(self, keyring: object) -> None:
        """Let the engine keep these keys, and the keyring, until it is collected.

        An application may hold on to its engine alone. Kept the other way round, neither would ever be
        collected where the keyring is a global and engines come and go, as in a test suite.
        """
        engine = self.engine()
        if engine is not None and self._keyring is None:
            self._keyring = keyring
            event.listen(engine, "engine_disposed", self._engine_disposed)

    def step_back(self, *, forsaken: bool) -> None:
        """Give back connections and opened DEKs: another keyring serves the engine now.

        Args:
            forsaken: whether the engine need not keep these keys any more.
        """
        if forsaken:
            self._leave()
        self.opener.forget()
        self.connections.close()

    def start_anew(self) -> None:
        """Forget every key and what was seen of the key tables: this process has dropped them."""
        self.opener.forget()
        self.store.start_anew()
        self.indexes.start_anew()
        self.audit.start_anew()

    def close(self) -> None:
        """Drop every opened DEK, write what waits, and close connections."""
        # The keys first: a proof that is under way then begins nothing again.
        self.opened.close()
        self.refresher.close()
        self.locks.close()
        self.background.close()
        self.courier.close()
        self._leave()
        self.connections.close()

    def after_fork(self) -> None:
        """Replace the connections and locks that a forked child has inherited; called after a fork."""
        self.connections.after_fork()
        self.opened.after_fork()
        self.opener.after_fork()
        self.refresher.after_fork()
        self.locks.after_fork()

    def _lock_listener(self, row: LockRow) -> LockListener:
        return LockListener(
            self.connections, row.channel, lambda: len(self.opened) > 0, lambda: self.locks.hurry()
        )

    def _trail_on(self, database: KeyDatabase) -> AuditTrail:
        settings = self._settings
        told = settings.subscribers
        outbox = self._outbox if told.webhooks.any else None
        others = Announcements(told.listeners, self._telemetry.key_event, outbox, self.courier)
        return AuditTrail(
            database, self.background, settings.actor, self.record_keys, settings.reason_for, others
        )

    def _store_on(self, database: KeyDatabase, audit: AuditTrail | None = None) -> KeyStore:
        trail = audit or self._trail_on(database)
        return KeyStore(database, trail, Manifests(self.record_keys), self._tampering)

    def _leave(self) -> None:
        engine, self._keyring = self.engine() if self._keyring is not None else None, None
        if engine is not None:
            event.remove(engine, "engine_disposed", self._engine_disposed)

    def _engine_disposed(self, _: Engine) -> None:
        # Idle connections of the keyring's own would keep a test suite from dropping its database.
        self.locks.rest()
        self.connections.close()


def sync_engine(engine: Engine | AsyncEngine) -> Engine:
    """Return the engine inside an asynchronous one, or the engine itself."""
    return engine if isinstance(engine, Engine) else engine.sync_engine
