"""The keyring: one object per application that makes DEKs, opens them and caches them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from sqlalchemy import Connection, Engine, MetaData

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.arguments import (
    CONNECTION,
    METADATA,
    cache_policy,
    check_arguments,
    check_engine,
    event_kinds,
    guarded_operations,
    metadata_of,
)
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.binding.engines import Engines
from sqlalchemy_cmk.keys.binding.places import shown
from sqlalchemy_cmk.keys.binding.protection import forget_when_dropped, protection_of, serve
from sqlalchemy_cmk.keys.binding.settings import Settings
from sqlalchemy_cmk.keys.certificate_key import CertificateKey, CertificateKeySource
from sqlalchemy_cmk.keys.declarations import check_again, refuse_wrong_declarations, restorers
from sqlalchemy_cmk.keys.doors import ValueDoors
from sqlalchemy_cmk.keys.dry_run import Refusal, begin, dry_run_for, noting
from sqlalchemy_cmk.keys.events.key_event import KeyEvent, kinds_named
from sqlalchemy_cmk.keys.events.subscribers import Subscribers
from sqlalchemy_cmk.keys.events.webhooks import Webhooks, WebhookSource
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeySource
from sqlalchemy_cmk.keys.onboarding import Onboarding
from sqlalchemy_cmk.keys.opening.calls import KEK_CONCURRENCY, ProviderCalls
from sqlalchemy_cmk.keys.opening.kek_calls import provider_for
from sqlalchemy_cmk.keys.operations import KeyOperations
from sqlalchemy_cmk.keys.ownership import TenantTag, check_tenant_tag
from sqlalchemy_cmk.keys.policy import KekAllowed, PolicyCheck
from sqlalchemy_cmk.keys.raw_sql import RawSql, check_raw_sql, guarded
from sqlalchemy_cmk.keys.storage.tables import make_all_tables
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.providers.owners import TENANT_TAG
from sqlalchemy_cmk.runtime.blocking import in_a_thread, off_the_loop
from sqlalchemy_cmk.runtime.clock import duration, elapsed
from sqlalchemy_cmk.runtime.kinds import COUNT, KEK_URI, Kind, takes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

EventCallback = TypeVar("EventCallback", bound=Callable[[KeyEvent], object])


class Keyring(KeyOperations, ValueDoors):
    """Makes DEKs at first use, opens them, and keeps them open for a bounded time.

    Args:
        engine: the application's engine, sync or async. The keyring uses its URL and driver settings, and
            opens its own connections. Leave it out to pass it later, to :meth:`init_engine`.
        platform_key: the URI of the platform-managed KEK, which wraps the DEKs of tenants without their own
            KEK.
        providers: the key providers; the first that handles a KEK's URI serves it.
        revalidate_after: seconds or ``timedelta`` after which an opened DEK has to be proven by its KEK
            again; a revocation takes effect within this time if the KEK can be reached. Default 300.
        outage_grace: seconds or ``timedelta`` for which opened DEKs stay usable, from their last proof, while
            their KEK cannot be reached. Anyone who controls the network to the KEK can stretch a revocation
            to this time. With 0, an outage closes the data as a revocation does; to set it for one tenant,
            see :meth:`Lifecycle.set_grace`. Default 3600.
        retry_after: seconds or ``timedelta`` after which a KEK is asked again that refused, or that could
            not be reached while its DEKs are open. Default 15.
        revalidation_jitter: the fraction of ``revalidate_after``, from 0 up to 1, by which proofs come
            earlier at random, so that many processes do not ask at once. Default 0.1.
        refresh_ahead: whether DEKs in use are proven again in the background before they have to be, so that
            no request waits for a KEK. Default ``True``.
        lock_check: seconds or ``timedelta`` after which a process that holds DEKs checks again whether a
            tenant was locked, by reading one row of the key tables. Default 2.
        lock_grace: seconds or ``timedelta`` for which opened DEKs stay usable, from their last proof, while
            that row cannot be read, since their tenant might be locked. Default 300.
        lock_notify: whether a process that holds DEKs also listens for locks with PostgreSQL's LISTEN, and so
            notices one at once. This takes one more connection. Default ``False``.
        max_open_keys: how many DEKs are kept open, about 1 KiB each; the least recently used is dropped
            first. Default 20,000.
        kek_concurrency: how many calls to KEKs run at once when a statement, a flush or :meth:`warm` needs
            many keys: at most 8 of them to one vault, and to a provider only as many as it says make sense.
            Default 16.
        record_key: where to find the record key, which authenticates the key tables and the audit trail:
            ``"env:NAME"``, ``"file:PATH"``, or a function that returns its 32 bytes. Default: a file beside
            the key file of a local provider, made at first use; without one, nothing is authenticated.
        certificate_key: where to find the Ed25519 key that signs certificates: ``"env:NAME"``,
            ``"file:PATH"``, or a function that returns its PEM. Default: none, and no certificate is issued.
        kek_allowed: a function that takes a tenant's name and a KEK's URI and returns whether that KEK may
            serve that tenant; called at every wrap and unwrap. A :class:`~sqlalchemy_cmk.KekPolicy` is one.
            Default: every KEK may serve every tenant.
        tenant_tag: the name of the tag with which a KEK says which tenants it may serve. A KEK without it is
            not assigned, since a tenant could name somebody else's KEK. Or a function that takes a tenant's
            name and a KEK's URI, and returns whether the KEK is theirs; or ``None`` to accept every KEK. The
            platform's KEK, and KEKs that cannot have tags, such as local ones, need none. Default
            ``"cmk-tenant"``.
        reads_without_tenant: allow reading a tenant's sealed value when neither the row, the statement nor
            a scope says whose it is. Default ``False``: raises :class:`~sqlalchemy_cmk.TenantRequired`.
        raw_sql: what to do with ``text()`` and other SQL text that names a sealed column, on an engine that
            is not :func:`~sqlalchemy_cmk.dbapi.transparent`: ``"warn"`` logs a warning once for each text,
            ``"refuse"`` refuses it, ``"allow"`` does nothing. Default ``"warn"``.
        actor: who acts, for the audit trail: a name, or a function that returns it. Default: the user that
            the process runs as.
        reason_for: the changes of keys that are refused without a reason (see :meth:`because`): names of
            audit events, such as ``["shred", "unlock", "assign"]``. Default: none.
        webhooks: where to post key events: a list of :class:`~sqlalchemy_cmk.Webhook` for every tenant's
            events, or a function that takes a tenant's name and returns that tenant's webhooks. Default:
            none.
        two_people: the changes of keys that a second person has to approve, from ``"shred"``,
            ``"drop_retired"``, ``"assign"`` (away from a customer's key) and ``"unlock"``. Each raises
            :class:`~sqlalchemy_cmk.ApprovalRequired` until :attr:`approvals` has an approved request for it.
            This needs a record key. Default: none.
        request_expiry: seconds or ``timedelta`` until a request for a second person expires. Default 86,400.
        table_prefix: the prefix of the key tables' names.
        record_exceptions: whether OpenTelemetry's spans record the errors of providers, whose messages name
            KEKs and files.
        dry_run: seal nothing: store plain values, call no KEK, and record in :attr:`refusals` what sealing
            would refuse. For test suites; a database with sealed values is refused.
        clock: returns monotonic seconds, for tests. The default clock keeps running while the machine sleeps.

    If the keyring serves several engines, say whose keys you mean:
    ``keyring.for_engine(engine).assign(...)``. See :class:`~sqlalchemy_cmk.keys.operations.KeyOperations`.

    Raises:
        ConfigurationError: an argument is of the wrong kind, no provider handles ``platform_key``, or a
            duration is negative.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine | None = None,
        *,
        platform_key: str,
        providers: Sequence[KeyProvider],
        revalidate_after: float | timedelta = 300,
        outage_grace: float | timedelta = 3600,
        retry_after: float | timedelta = 15,
        revalidation_jitter: float = 0.1,
        refresh_ahead: bool = True,
        lock_check: float | timedelta = 2,
        lock_grace: float | timedelta = 300,
        lock_notify: bool = False,
        max_open_keys: int = 20_000,
        kek_concurrency: int = KEK_CONCURRENCY,
        record_key: RecordKeySource | None = None,
        certificate_key: CertificateKeySource | None = None,
        kek_allowed: KekAllowed | None = None,
        tenant_tag: TenantTag = TENANT_TAG,
        reads_without_tenant: bool = False,
        raw_sql: RawSql = "warn",
        actor: str | Callable[[], str] | None = None,
        reason_for: Iterable[str] = (),
        webhooks: WebhookSource = (),
        two_people: Iterable[str] = (),
        request_expiry: float | timedelta = 86_400,
        table_prefix: str = "cmk_",
        record_exceptions: bool = False,
        dry_run: bool = False,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        check_arguments(platform_key, providers)
        check_raw_sql(raw_sql)
        for name, count in (("max_open_keys", max_open_keys), ("kek_concurrency", kek_concurrency)):
            COUNT.require(name, count)
            if count < 1:
                raise ConfigurationError(f"{name} is a count: give 1 or more")
        self._settings = Settings(
            platform_key,
            tuple(providers),
            cache_policy(
                revalidate_after,
                outage_grace,
                retry_after,
                revalidation_jitter,
                refresh_ahead,
                lock_check,
                lock_grace,
                lock_notify,
            ),
            max_open_keys,
            record_key,
            PolicyCheck(kek_allowed),
            reads_without_tenant,
            actor,
            table_prefix,
            record_exceptions,
            clock,
            event_kinds(reason_for),
            guarded_operations(two_people),
            duration(request_expiry, "request_expiry"),
            check_tenant_tag(tenant_tag),
            ProviderCalls(kek_concurrency),
            Subscribers(Webhooks(webhooks)),
        )
        self.certificate_key = None if certificate_key is None else CertificateKey(certificate_key)
        self.dry_run = dry_run_for(dry_run, table_prefix)
        self.reads_without_tenant = reads_without_tenant
        self.raw_sql = raw_sql
        self.platform_key = platform_key
        self.table_prefix = table_prefix
        self.provider_of(platform_key)
        self.engines = Engines(self._settings)
        self._for_engine: EngineKeys | None = None
        self._protected: list[MetaData] = []
        if engine is not None:
            self.init_engine(engine)

    def __repr__(self) -> str:
        served = ", ".join(shown(keys.connections.url) for keys in self.engines.all())
        return f"<Keyring of {served or 'no engine'}, platform_key={self.platform_key!r}>"

    @overload
    def on_event(self, callback: str, *kinds: str) -> Callable[[EventCallback], EventCallback]: ...

    @overload
    def on_event(self, callback: EventCallback, *kinds: str) -> EventCallback: ...

    def on_event(self, callback: Any, *kinds: str) -> Any:
        """Call a function at key events of every engine: ``keyring.on_event(callback, "revoked")``.

        It is called with a :class:`~sqlalchemy_cmk.KeyEvent` after the event is committed, in a separate
        thread and in no tenant's scope. Its exceptions are logged. As a decorator: ``@keyring.on_event`` for
        every kind, ``@keyring.on_event("revoked", "locked")`` for some.

        Args:
            callback: the function, or the first of the kinds if this is used as a decorator.
            kinds: the names of the kinds; without any, every kind.

        Raises:
            ConfigurationError: it is not a function, it is a coroutine function, or there is no such kind.
        """
        if isinstance(callback, str):
            return lambda function: self.on_event(function, callback, *kinds)
        self._settings.subscribers.listeners.add(callback, kinds_named(kinds))
        return callback

    def init_engine(
        self, engine: Engine | AsyncEngine, *, replica_of: Engine | AsyncEngine | None = None
    ) -> None:
        """Serve an engine. Each engine has key tables in its own database, and its own opened keys.

        Args:
            engine: one of the application's engines, sync or async.
            replica_of: if the engine reads a copy of another engine's database, that other engine, which is
                already served. Values are then opened with its keys, and nothing is written through the
                replica.

        Raises:
            ConfigurationError: ``engine`` is not an engine, or ``replica_of`` is not served.
        """
        check_engine(engine)
        if replica_of is not None:
            check_engine(replica_of)
            self.engines.add_replica(engine, replica_of)
            return
        self.engines.bind(engine)
        for metadata in self._protected:
            serve(self, metadata)

    def for_engine(self, engine: Engine | AsyncEngine) -> Keyring:
        """Return this keyring for one of its engines; its methods then apply to that engine's database.

        Raises:
            ConfigurationError: the engine is not served.
        """
        check_engine(engine)
        return self._only_for(self.engines.require(engine))

    @takes(connection=CONNECTION)
    def for_connection(self, connection: Connection) -> Keyring:
        """Return this keyring for the database that a connection leads to; see :meth:`for_engine`.

        Raises:
            ConfigurationError: that database is not served, or cannot be proven to be.
        """
        return self._only_for(self.engines.require_connection(connection))

    def _only_for(self, keys: EngineKeys) -> Keyring:
        view = copy(self)
        view._for_engine = keys
        return view

    @property
    def keys(self) -> EngineKeys:
        """The keys of the engine that a call applies to, with which statements seal and open.

        Raises:
            ConfigurationError: the keyring serves no engine, or several, and nothing says which is meant.
        """
        return self._for_engine or self.engines.chosen()

    def protect(self, base: MetaData | Any) -> None:
        """Serve the sealed columns of a declarative base or a ``MetaData``, and add the key tables to it.

        Everything declared so far is checked now; a table declared later is checked when it is first used. If
        another keyring protects the same metadata and serves the same engine, this one serves it from now on.

        Args:
            base: the declarative base, or its ``MetaData``.

        Raises:
            ConfigurationError: something is declared that cannot work with sealed columns, such as a unique
                constraint over a randomized column, or a table beside tenants' tables that does not say whose
                rows it holds.
        """
        metadata = metadata_of(base)
        begin(metadata, self.dry_run)
        if self.dry_run is None:
            forget_when_dropped(make_all_tables(metadata, self.table_prefix).tenants)
        with noting(metadata):
            refuse_wrong_declarations(metadata)
        if metadata not in self._protected:
            self._protected.append(metadata)
        serve(self, metadata)
        if self.raw_sql != "allow":
            guarded.add(metadata)

    @takes(metadata=METADATA)
    def apply_to(self, metadata: MetaData) -> None:
        """Give reflected tables their sealed columns back, as recorded by migrations, and protect them.

        For exports and scripts: call it after ``metadata.reflect(engine)``, and before ``automap_base`` maps
        the tables. It trusts what the database says about its columns, so use models in the application
        itself.

        Args:
            metadata: the reflected tables.

        Raises:
            ConfigurationError: a recorded type is not imported here, the table with the owners of rows was
                not reflected, or as for :meth:`protect`.
        """
        for restore in restorers:
            off_the_loop(partial(restore, self, metadata))
        self.protect(metadata)

    def close(self) -> None:
        """Drop every opened DEK, close connections and providers, and stop protecting metadata."""
        off_the_loop(self.engines.close)
        for metadata in self._protected:
            protection_of(metadata).remove(self)
            check_again(metadata)
        self._protected.clear()
        self._settings.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await in_a_thread(self.close)

    @property
    def revalidate_after(self) -> float:
        """Seconds after which every process has noticed a change of keys; ``outage_grace`` in an outage."""
        return self._settings.cache.revalidate_after

    @property
    def retry_after(self) -> float:
        """Seconds after which a KEK that refused, or could not be reached, is asked again."""
        return self._settings.cache.retry_after

    @property
    def protected(self) -> tuple[MetaData, ...]:
        """The ``MetaData`` objects that this keyring protects."""
        return tuple(self._protected)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What sealing would refuse, as a dry run has seen so far; empty if this is no dry run."""
        return () if self.dry_run is None else self.dry_run.refusals

    @takes(kek_uri=KEK_URI)
    def onboarding(
        self, tenant: object, kek_uri: str, *, application: str | None = None, other_directory: bool = False
    ) -> Onboarding:
        """Return what a customer has to do to bring a KEK, and a check of whether it is done.

        Args:
            tenant: the tenant's name.
            kek_uri: the URI that the KEK has, or will have.
            application: how the customer identifies the application: its client id in Azure, the ARN of its
                role in AWS. Without one, the instructions have a placeholder.
            other_directory: whether the customer's directory in Azure differs from the application's.

        Raises:
            ConfigurationError: ``application`` is neither.
        """
        return Onboarding(self._settings, tenant, kek_uri, application, other_directory)

    @takes(kek_uri=KEK_URI)
    def provider_of(self, kek_uri: str) -> KeyProvider:
        """Return the provider of a KEK.

        Raises:
            ConfigurationError: no provider handles its URI.
        """
        return provider_for(self._settings.providers, kek_uri)


KEYRING = Kind((Keyring,), "a Keyring")
