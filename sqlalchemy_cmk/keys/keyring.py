"""The keyring: one object per application that makes DEKs, opens them and caches them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, MetaData, Table

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.arguments import cache_policy, check_arguments
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.declarations import check_again, refuse_wrong_declarations
from sqlalchemy_cmk.keys.dry_run import Refusal, begin, dry_run_for, noting
from sqlalchemy_cmk.keys.kek_uses import KekUse, read_kek_uses
from sqlalchemy_cmk.keys.lifecycle.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.lifecycle.record_keys import RecordKeyLifecycle, required
from sqlalchemy_cmk.keys.manifest.manifest import Manifests
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeySource, record_keys_of
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Purpose, TenantStatus
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.opener import Opener
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.policy import KekAllowed, PolicyCheck
from sqlalchemy_cmk.keys.status import read_status
from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.keys.storage.tables import make_all_tables
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.scope import key_owner

INFO_KEY = "sqlalchemy_cmk.keyring"

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class Keyring:
    """Makes DEKs at first use, opens them, and keeps them open for a bounded time.

    Args:
        engine: the application's engine, sync or async. The keyring uses its URL and driver settings, and
            opens connections of its own.
        platform_key: the URI of the platform-managed KEK, which wraps the DEKs of tenants without a KEK of
            their own.
        providers: the key providers; the first that handles a KEK's URI serves it.
        revalidate_after: seconds or ``timedelta`` after which an opened DEK has to be proven by its KEK
            again; a revocation takes effect within this time while the KEK can be reached. Default 300.
        outage_grace: seconds or ``timedelta`` for which opened DEKs stay usable, from their last proof, while
            their KEK cannot be reached. Whoever controls the network to the KEK can stretch a revocation to
            this time. With 0 an outage shuts as a revocation does; for one tenant see
            :meth:`Lifecycle.set_grace`. Default 3600.
        retry_after: seconds or ``timedelta`` after which a KEK that refused is asked again, or one that could
            not be reached while its DEKs are open. Default 15.
        revalidation_jitter: the fraction of ``revalidate_after``, from 0 up to 1, by which proofs come
            earlier at random, so that many processes do not ask at once. Default 0.1.
        max_open_keys: how many DEKs are kept open; the least recently used is dropped first. Default 1000.
        record_key: where the record key is kept, which authenticates the key tables and the audit trail:
            ``"env:NAME"``, ``"file:PATH"``, or a function that returns its 32 bytes. Default: a file beside
            the key file of a local provider, made at first use; without one, nothing is authenticated.
        kek_allowed: given a tenant's name and a KEK's URI, returns whether that KEK may serve that tenant;
            asked at every wrap and unwrap. :class:`~sqlalchemy_cmk.KekPolicy` is one. Default: every KEK may.
        reads_without_tenant: let a sealed value of a tenant be read where neither the row, the statement nor
            a scope says whose it is. Default ``False``: :class:`~sqlalchemy_cmk.TenantRequired`.
        actor: who acts, for the audit trail: a name, or a function that returns it. Default: the user that
            the process runs as.
        table_prefix: the prefix of the key tables' names.
        record_exceptions: whether OpenTelemetry's spans record the errors of providers, whose messages name
            KEKs and files.
        dry_run: seal nothing: store plain values, ask no KEK, and note in :attr:`refusals` what sealing would
            refuse. For test suites; a database with sealed values is refused.
        clock: returns monotonic seconds, for tests. By default a clock that goes on while the machine sleeps.

    Attributes:
        lifecycle: changes tenants' keys.
        audit: the trail of key events.
        record_keys: what authenticates the key tables; ``None`` where nothing does.
        observations: notes which KEKs refuse.
        connections: the keyring's own connections to the application's database.
        database: the key tables.
        store: reads and writes the key tables.

    Raises:
        ConfigurationError: an argument is of the wrong kind, no provider handles ``platform_key``, or a
            duration is negative.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        *,
        platform_key: str,
        providers: Sequence[KeyProvider],
        revalidate_after: float | timedelta = 300,
        outage_grace: float | timedelta = 3600,
        retry_after: float | timedelta = 15,
        revalidation_jitter: float = 0.1,
        max_open_keys: int = 1000,
        record_key: RecordKeySource | None = None,
        kek_allowed: KekAllowed | None = None,
        reads_without_tenant: bool = False,
        actor: str | Callable[[], str] | None = None,
        table_prefix: str = "cmk_",
        record_exceptions: bool = False,
        dry_run: bool = False,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        check_arguments(engine, platform_key, providers)
        self.dry_run = dry_run_for(dry_run, table_prefix)
        self.platform_key = platform_key
        self.reads_without_tenant = reads_without_tenant
        self.table_prefix = table_prefix
        policy = cache_policy(revalidate_after, outage_grace, retry_after, revalidation_jitter)
        if max_open_keys < 1:
            raise ConfigurationError("max_open_keys counts keys: give 1 or more")
        self._opened = OpenedKeys(max_open_keys, clock, policy.revalidate_after)
        telemetry = Telemetry(self._opened, record_exceptions=record_exceptions)
        self._wrapper = Wrapper(providers, telemetry, PolicyCheck(kek_allowed))
        self._wrapper.provider_of(platform_key)
        self.connections = Connections(engine)
        database = KeyDatabase(self.connections, table_prefix)
        self.database = database
        self._policy = policy
        self._background = BackgroundWriter()
        self.record_keys = record_keys_of(record_key, providers, lambda: not self.store.is_authenticated())
        self.audit = AuditTrail(database, self._background, actor, self.record_keys)
        self.store = KeyStore(database, self.audit, Manifests(self.record_keys))
        self.observations = Observations(self.store, self._background)
        self._opener = Opener(
            policy, self.store, self._wrapper, self._opened, self.audit, telemetry, self.observations, clock
        )
        self._maker = Maker(platform_key, self.store, self._wrapper, self._opener, self.observations, clock)
        self.lifecycle = Lifecycle(
            self.store,
            self._wrapper,
            self.observations,
            self._opener.forget,
            policy.longest_use,
        )
        self._protected: list[MetaData] = []
        watch_forks(self)

    def protect(self, base: MetaData | Any) -> None:
        """Serve the sealed columns of a declarative base or a ``MetaData``, and add the key tables to it.

        What is declared so far is checked now, a table that is declared later when it is first used.

        Args:
            base: the declarative base, or its ``MetaData``.

        Raises:
            ConfigurationError: another open keyring protects it already; or something is declared that sealed
                columns cannot keep, such as a unique constraint over a randomized column, or a table beside
                tenants' tables that does not say whose rows it holds.
        """
        metadata = base if isinstance(base, MetaData) else base.metadata
        holder = metadata.info.get(INFO_KEY)
        if holder is not None and holder is not self:
            raise ConfigurationError("another keyring protects this metadata: close() that one first")
        begin(metadata, self.dry_run)
        if self.dry_run is None:
            make_all_tables(metadata, self.table_prefix)
        with noting(metadata):
            refuse_wrong_declarations(metadata)
        metadata.info[INFO_KEY] = self
        if metadata not in self._protected:
            self._protected.append(metadata)

    def assign(self, tenant: object, kek_uri: str, *, fresh_dek: bool = False) -> None:
        """Wrap a tenant's DEKs by another KEK; no data row is touched. A dry run does nothing.

        See :meth:`Lifecycle.assign`.
        """
        if self.dry_run is None:
            off_the_loop(lambda: self.lifecycle.assign(tenant, kek_uri, fresh_dek=fresh_dek))

    def warm(
        self, tenants: Iterable[object], purposes: Iterable[Purpose | str] = (Purpose.RANDOMIZED,)
    ) -> None:
        """Open the active DEKs of these tenants now, making those that do not exist. A dry run does nothing.

        Args:
            tenants: the tenants' names; ``""`` is the platform.
            purposes: ``"randomized"``, and ``"deterministic"`` where there are deterministic columns.
        """
        if isinstance(tenants, str):
            raise ConfigurationError(f"warm takes a list of tenants: give it [{tenants!r}]")
        for tenant in tenants if self.dry_run is None else ():
            for purpose in purposes:
                self.active(key_owner(tenant), Purpose.named(purpose))

    def forget(self, tenant: object | None = None) -> None:
        """Drop the opened DEKs of a tenant, or of every tenant, from this process.

        The next use opens them again. Providers forget which version of each KEK is the newest.
        """
        self._opener.forget(None if tenant is None else key_owner(tenant))
        self._wrapper.forget()

    def notice_rotations(self) -> None:
        """Look up now which DEKs other processes have retired, and stop sealing under them.

        Without this call it is noticed when the DEKs are proven again. Opened DEKs stay open; no KEK is
        asked.
        """
        off_the_loop(lambda: self._opened.keep_active(self.store.active_ids()))

    def status(self) -> list[TenantStatus]:
        """Return one line for each tenant that has keys; no KEK is asked."""
        off_the_loop(self._background.flush)
        return off_the_loop(lambda: read_status(self.store, self._opened, self.platform_key))

    def kek_uses(self, tenants: Container[str] | None = None, *, newest: bool = True) -> list[KekUse]:
        """Return which KEK versions wrap tenants' DEKs, and whether each unwraps what it has wrapped.

        Args:
            tenants: their names; ``None`` for all.
            newest: whether each KEK is asked for its newest version too.
        """
        return off_the_loop(
            lambda: read_kek_uses(self.store, self._wrapper, self.observations, tenants, newest=newest)
        )

    def dek_states(self) -> dict[bytes, DekState]:
        """Return the state of every DEK that exists or existed, by its id (8 bytes)."""
        return off_the_loop(self.store.dek_states)

    def close(self) -> None:
        """Drop every opened DEK, close connections and providers, and stop protecting metadata."""
        off_the_loop(self._background.close)
        self._opened.close()
        for metadata in self._protected:
            metadata.info.pop(INFO_KEY, None)
            check_again(metadata)
        self._protected.clear()
        self.connections.close()
        self._wrapper.close()

    @property
    def revalidate_after(self) -> float:
        """Seconds after which every process has noticed a change of keys; ``outage_grace`` in an outage."""
        return self._policy.revalidate_after

    @property
    def record_key(self) -> RecordKeyLifecycle:
        """Rotates the record key, or adopts one.

        Raises:
            ConfigurationError: the keyring has none.
        """
        return RecordKeyLifecycle(required(self.record_keys), self.store, self.audit)

    def provider_of(self, kek_uri: str) -> KeyProvider:
        """Return the provider of a KEK.

        Raises:
            ConfigurationError: no provider handles its URI.
        """
        return self._wrapper.provider_of(kek_uri)

    @property
    def protected(self) -> tuple[MetaData, ...]:
        """The ``MetaData`` objects that this keyring protects."""
        return tuple(self._protected)

    @property
    def opened(self) -> OpenedKeys:
        """The opened keys of this process."""
        return self._opened

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; ``None`` if no such DEK exists.

        Raises:
            KeyRevoked: its KEK refuses, or it was destroyed.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self._opened.fresh(dek_id) or self._opener.dek(dek_id)

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; it is made at first use.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        fresh = self._opened.fresh_active(tenant, purpose)
        return fresh or self._opener.active(tenant, purpose, lambda: self._maker.make(tenant, purpose))

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the DEK that seals a tenant's new values; ``None`` if there is none, and none is made.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        fresh = self._opened.fresh_active(tenant, purpose)
        return fresh or self._opener.existing(tenant, purpose)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What sealing would refuse, as a dry run has seen it so far; empty where values are sealed."""
        return () if self.dry_run is None else self.dry_run.refusals

    def _refuse_dry_run(self) -> None:
        if self.dry_run is not None:
            raise ConfigurationError("a dry run has no keys: nothing is sealed, and no KEK is asked")

    def after_fork(self) -> None:
        """Replace the connections and locks that a forked child has inherited; called after a fork."""
        self.connections.after_fork()
        self._opened.after_fork()
        self._opener.after_fork()


def keyring_of(table: Table, where: str) -> Keyring:
    """Return the keyring that protects a table's metadata.

    Raises:
        ConfigurationError: none does, or the table was declared after that and is declared wrongly.
    """
    keyring = table.metadata.info.get(INFO_KEY)
    if not isinstance(keyring, Keyring):
        raise ConfigurationError(
            f"{where}: no keyring protects this metadata: call keyring.protect(Base) first"
        )
    if keyring.dry_run is None:
        refuse_wrong_declarations(table.metadata, table)
    return keyring
