"""The keyring: one object per application that opens, makes and keeps its DEKs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, MetaData

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.forks import watch_forks
from sqlalchemy_cmk.keys.audit import AuditTrail
from sqlalchemy_cmk.keys.blocking import off_the_loop
from sqlalchemy_cmk.keys.connections import Connections
from sqlalchemy_cmk.keys.database import KeyDatabase
from sqlalchemy_cmk.keys.examination import Examination
from sqlalchemy_cmk.keys.later import Later
from sqlalchemy_cmk.keys.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.making import Maker
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose, TenantStatus
from sqlalchemy_cmk.keys.opened import OpenedKeys
from sqlalchemy_cmk.keys.opening import Opener, Times
from sqlalchemy_cmk.keys.status import read_status
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.tables import make_key_tables
from sqlalchemy_cmk.keys.telemetry import Telemetry
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.providers.base import Finding, KeyProvider
from sqlalchemy_cmk.scope import key_owner

INFO_KEY = "sqlalchemy_cmk.keyring"

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class Keyring:
    """Opens DEKs, makes them at first use, and keeps them open for a bounded time.

    Args:
        engine: the application's engine, sync or async. The keyring takes its URL and driver settings
            and opens connections of its own.
        platform_key: URI of the platform-managed KEK, which wraps the DEKs of tenants without a KEK of
            their own.
        providers: the key providers, asked in order.
        revalidate_after: seconds or ``timedelta`` after which an opened DEK is proven anew by its KEK;
            a revocation takes effect within it. Default 300.
        outage_grace: seconds or ``timedelta`` for which opened DEKs serve on while their KEK cannot be
            reached. Default 3600.
        retry_after: seconds or ``timedelta`` after which a KEK that refused is asked again, or one that
            could not be reached while its DEKs are open. Default 15.
        revalidation_jitter: the part of ``revalidate_after`` by which proofs come earlier at random, so that
            many processes do not ask at once. Default 0.1.
        max_open_keys: how many DEKs are kept open; the least recently used goes first.
        actor: who acts, for the audit trail: a text, or a function that returns one. Default: the user
            that the process runs as.
        table_prefix: beginning of the key tables' names.
        clock: seconds, monotonic; for tests.

    Attributes:
        lifecycle: what happens to keys over their life.
        audit: the trail of key events.
        connections: the keyring's own connections to the application's database.
        database: the key tables there.

    Raises:
        ConfigurationError: no provider handles ``platform_key``, or a duration is negative.
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
        actor: str | Callable[[], str] | None = None,
        table_prefix: str = "cmk_",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.platform_key = platform_key
        self._prefix = table_prefix
        times = Times(
            _seconds(revalidate_after, "revalidate_after"),
            _seconds(outage_grace, "outage_grace"),
            _seconds(retry_after, "retry_after"),
            revalidation_jitter,
        )
        if not 0 <= revalidation_jitter < 1:
            raise ConfigurationError("revalidation_jitter is a part of revalidate_after, from 0 up to 1")
        if max_open_keys < 1:
            raise ConfigurationError("max_open_keys is at least 1")
        self._opened = OpenedKeys(max_open_keys, clock)
        telemetry = Telemetry(self._opened)
        self._wrapper = Wrapper(providers, telemetry)
        self._wrapper.provider_of(platform_key)
        self.connections = Connections(engine)
        database = KeyDatabase(self.connections, table_prefix)
        self.database = database
        self._times = times
        self._later = Later()
        self.audit = AuditTrail(database, self._later, actor)
        self._store = KeyStore(database, self.audit)
        self._opener = Opener(
            times, self._store, self._wrapper, self._opened, self.audit, telemetry, self._later, clock
        )
        self._maker = Maker(platform_key, self._store, self._wrapper, self._opener, clock)
        self.lifecycle = Lifecycle(
            platform_key, self._store, self._wrapper, self._opener.forget, times.settle_after
        )
        self._protected: list[MetaData] = []
        self.examination = Examination(
            platform_key,
            table_prefix,
            self.connections,
            self._store,
            self._wrapper,
            self.audit,
            self._protected,
        )
        watch_forks(self)

    def protect(self, base: MetaData | Any) -> None:
        """Serve the sealed columns of a declarative base or a ``MetaData``, and put the key tables there.

        Raises:
            ConfigurationError: another open keyring protects it already.
        """
        metadata = base if isinstance(base, MetaData) else base.metadata
        holder = metadata.info.get(INFO_KEY)
        if holder is not None and holder is not self:
            raise ConfigurationError("this metadata is protected by another keyring: close() that one first")
        make_key_tables(metadata, self._prefix)
        metadata.info[INFO_KEY] = self
        if metadata not in self._protected:
            self._protected.append(metadata)

    def assign(self, tenant: object, kek_uri: str, *, fresh_dek: bool = False) -> None:
        """Give a tenant a KEK: its DEKs are wrapped anew, no data row is touched.

        See :meth:`Lifecycle.assign`.
        """
        off_the_loop(lambda: self.lifecycle.assign(tenant, kek_uri, fresh_dek=fresh_dek))

    def warm(self, tenants: Iterable[object], purposes: Iterable[Purpose | str] = (Purpose.SEAL,)) -> None:
        """Open the active DEKs of these tenants now, making those that do not exist.

        Args:
            tenants: their names; ``""`` is the platform.
            purposes: ``"seal"``, and ``"fixed"`` for deterministic columns.
        """
        if isinstance(tenants, str):
            raise ConfigurationError(f"warm takes the names of several tenants: [{tenants!r}]")
        for tenant in tenants:
            for purpose in purposes:
                self.active(key_owner(tenant), Purpose(purpose))

    def forget(self, tenant: object | None = None) -> None:
        """Drop the opened DEKs of a tenant, or of all, from this process; the next use opens them anew."""
        self._opener.forget(None if tenant is None else key_owner(tenant))

    def notice_rotations(self) -> None:
        """Learn now which DEKs other processes have retired; it would be noticed when they are proven anew.

        Opened DEKs stay open, and no KEK is asked.
        """
        off_the_loop(lambda: self._opened.keep_active(self._store.active_ids()))

    def status(self) -> list[TenantStatus]:
        """Return one line per tenant that has keys; no KEK is asked."""
        off_the_loop(self._later.flush)
        return off_the_loop(lambda: read_status(self._store, self._opened, self.platform_key))

    def examine(self) -> list[Finding]:
        """Return what is well and what is not: the key tables, every KEK in use, the audit trail.

        Each KEK is asked to wrap and to unwrap. Nothing is changed, and no row of the application is read.
        """
        return off_the_loop(self.examination.findings)

    def close(self) -> None:
        """Drop every opened DEK, close connections and providers, and let go of the metadata."""
        off_the_loop(self._later.close)
        self._opened.drop()
        for metadata in self._protected:
            metadata.info.pop(INFO_KEY, None)
        self._protected.clear()
        self.connections.close()
        self._wrapper.close()

    @property
    def revalidate_after(self) -> float:
        """Seconds after which every process has noticed a change of keys."""
        return self._times.revalidate_after

    @property
    def protected(self) -> tuple[MetaData, ...]:
        """What this keyring protects."""
        return tuple(self._protected)

    @property
    def opened(self) -> OpenedKeys:
        """The opened keys of this process."""
        return self._opened

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id, ``None`` where no such DEK exists.

        Raises:
            KeyRevoked: its KEK refuses, or it was destroyed.
            KeyUnavailable: its KEK or the key tables cannot be reached, and the grace is over.
        """
        return self._opened.fresh(dek_id) or off_the_loop(lambda: self._opener.dek(dek_id))

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK under which a tenant's new values are sealed, making it at first use.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and the grace is over.
        """
        fresh = self._opened.fresh_active(tenant, purpose)
        return fresh or off_the_loop(
            lambda: self._opener.active(tenant, purpose, lambda: self._maker.make(tenant, purpose))
        )

    def after_fork(self) -> None:
        """Leave the parent's connections and locks alone in a forked child; called by the system hook."""
        self.connections.after_fork()
        self._opened.after_fork()
        self._opener.after_fork()


def keyring_of(metadata: MetaData, where: str) -> Keyring:
    """Return the keyring that protects a ``MetaData``.

    Raises:
        ConfigurationError: none does.
    """
    keyring = metadata.info.get(INFO_KEY)
    if not isinstance(keyring, Keyring):
        raise ConfigurationError(
            f"{where}: no keyring protects this metadata: call keyring.protect(Base) first"
        )
    return keyring


def _seconds(duration: float | timedelta, name: str) -> float:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ConfigurationError(f"{name} is a duration in seconds, not {duration!r}")
    return float(seconds)
