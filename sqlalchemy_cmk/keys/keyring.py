"""The keyring: one object per application that opens, makes and keeps its DEKs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from os import urandom
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, MetaData

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.blocking import off_the_loop
from sqlalchemy_cmk.keys.connections import Connections
from sqlalchemy_cmk.keys.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.model import DekRecord, DekState, OpenedDek, Purpose, TenantStatus
from sqlalchemy_cmk.keys.opened import OpenedKeys
from sqlalchemy_cmk.keys.single_flight import SingleFlight
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.tables import make_key_tables
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.scope import PLATFORM_TENANT, tenant_name
from sqlalchemy_cmk.sealing import DEK_BYTES, DEK_ID_BYTES

INFO_KEY = "sqlalchemy_cmk.keyring"
RETRY_AFTER = 15.0
ATTEMPTS = 50

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Found = TypeVar("Found")

_keyrings: WeakSet[Keyring] = WeakSet()


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
        max_open_keys: how many DEKs are kept open; the least recently used goes first.
        table_prefix: beginning of the key tables' names.
        clock: seconds, monotonic; for tests.

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
        max_open_keys: int = 1000,
        table_prefix: str = "cmk_",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.platform_key = platform_key
        self.revalidate_after = _seconds(revalidate_after, "revalidate_after")
        self.outage_grace = _seconds(outage_grace, "outage_grace")
        self._prefix = table_prefix
        self._clock = clock
        self._wrapper = Wrapper(providers)
        self._wrapper.provider_of(platform_key)
        if max_open_keys < 1:
            raise ConfigurationError("max_open_keys is at least 1")
        self._connections = Connections(engine)
        self._store = KeyStore(self._connections, table_prefix)
        self._opened = OpenedKeys(max_open_keys, clock)
        self._flights = SingleFlight()
        self._protected: list[MetaData] = []
        self.lifecycle = Lifecycle(self._store, self._wrapper, self._opened)
        _keyrings.add(self)

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

    def assign(self, tenant: object, kek_uri: str) -> None:
        """Give a tenant a KEK: its DEKs are wrapped anew, no data row is touched.

        See :meth:`Lifecycle.assign`.
        """
        off_the_loop(lambda: self.lifecycle.assign(tenant, kek_uri))

    def warm(self, tenants: Iterable[object], purposes: Iterable[Purpose | str] = (Purpose.SEAL,)) -> None:
        """Open the active DEKs of these tenants now, making those that do not exist.

        Args:
            tenants: their names; ``""`` is the platform.
            purposes: ``"seal"``, and ``"fixed"`` for deterministic columns.
        """
        for tenant in tenants:
            for purpose in purposes:
                self.active(_name(tenant), Purpose(purpose))

    def forget(self, tenant: object | None = None) -> None:
        """Drop the opened DEKs of a tenant, or of all, from this process; the next use opens them anew."""
        self._opened.drop(None if tenant is None else _name(tenant))

    def status(self) -> list[TenantStatus]:
        """Return one line per tenant that has keys: its KEK, and how many DEKs are active, retired, open."""
        lines: dict[str, TenantStatus] = {}
        for tenant, kek_uri, state, count in off_the_loop(self._store.counts):
            before = lines.get(tenant, TenantStatus(tenant, kek_uri, 0, 0, self._opened.count(tenant)))
            active = before.active + (count if state == DekState.ACTIVE else 0)
            retired = before.retired + (count if state == DekState.RETIRED else 0)
            lines[tenant] = TenantStatus(tenant, kek_uri, active, retired, before.open)
        return list(lines.values())

    def close(self) -> None:
        """Drop every opened DEK, close connections and providers, and let go of the metadata."""
        self._opened.drop()
        for metadata in self._protected:
            metadata.info.pop(INFO_KEY, None)
        self._protected.clear()
        self._connections.close()
        self._wrapper.close()

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
        fresh = self._opened.fresh(dek_id)
        return fresh or off_the_loop(lambda: self._flights.do(dek_id, lambda: self._open(dek_id)))

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK under which a tenant's new values are sealed, making it at first use.

        Raises:
            KeyRevoked: its KEK refuses.
            KeyUnavailable: its KEK or the key tables cannot be reached, and the grace is over.
        """
        fresh = self._opened.fresh_active(tenant, purpose)
        if fresh:
            return fresh
        key = (tenant, purpose)
        return off_the_loop(lambda: self._flights.do(key, lambda: self._open_active(tenant, purpose)))

    def _open(self, dek_id: bytes) -> OpenedDek | None:
        def load() -> OpenedDek | None:
            record = self._store.dek(dek_id)
            return None if record is None else self._prove(record)

        return self._opened.fresh(dek_id) or self._or_grace(self._opened.stale(dek_id), load)

    def _open_active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        def load() -> OpenedDek:
            record = self._store.active_dek(tenant, purpose)
            opened = self._make(tenant, purpose) if record is None else self._prove(record)
            self._opened.activate(opened)
            return opened

        fresh = self._opened.fresh_active(tenant, purpose)
        if fresh is not None:
            return fresh
        return self._or_grace(self._opened.stale_active(tenant, purpose), load)

    def _prove(self, record: DekRecord) -> OpenedDek:
        """Unwrap a DEK where its KEK lives, once for everyone who asks at the same time."""
        return self._flights.do(
            ("unwrap", record.id), lambda: self._opened.fresh(record.id) or self._unwrap(record)
        )

    def _unwrap(self, record: DekRecord) -> OpenedDek:
        now = self._clock()
        try:
            key = self._wrapper.unwrap(record)
        except KeyRevoked as error:
            self._opened.drop(record.tenant)
            raise KeyRevoked(str(error), record.tenant) from error
        return self._keep(record, key, now)

    def _keep(self, record: DekRecord, key: bytes, now: float) -> OpenedDek:
        opened = OpenedDek(record, key, now, now + self.revalidate_after)
        self._opened.put(opened)
        return opened

    def _or_grace(self, stale: OpenedDek | None, load: Callable[[], Found]) -> Found | OpenedDek:
        """Ride out an outage with a key that is already open, until the grace is over."""
        try:
            return load()
        except KeyUnavailable:
            now = self._clock()
            if stale is None or now >= stale.proven_at + self.outage_grace:
                if stale is not None:
                    self._opened.drop(stale.tenant)
                raise
            self._opened.extend(stale, min(now + RETRY_AFTER, stale.proven_at + self.outage_grace))
            return stale

    def _make(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Make a DEK, prove its wrapping and commit it; where another process was first, take its DEK."""
        for _ in range(ATTEMPTS):
            owner = self._store.tenant(tenant) or self._store.add_tenant(tenant, self.platform_key)
            if not self._store.wraps_anything(owner.kek_uri):
                self._wrapper.provider_of(owner.kek_uri).ensure(owner.kek_uri)
            now, key = self._clock(), urandom(DEK_BYTES)
            wrapped = self._wrapper.wrap(owner.kek_uri, key)
            record = DekRecord(urandom(DEK_ID_BYTES), tenant, purpose, DekState.ACTIVE, (wrapped,))
            if self._store.add_dek(owner, record):
                return self._keep(record, key, now)
            theirs = self._store.active_dek(tenant, purpose)
            if theirs is not None:
                return self._prove(theirs)
        raise KeyUnavailable(f"the keys of tenant {tenant!r} keep changing under us: try again")

    def after_fork(self) -> None:
        """Leave the parent's connections and locks alone in a forked child; called by the system hook."""
        self._connections.after_fork()
        self._opened.after_fork()
        self._flights.after_fork()


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


def _name(tenant: object) -> str:
    return PLATFORM_TENANT if tenant == PLATFORM_TENANT else tenant_name(tenant)


def _seconds(duration: float | timedelta, name: str) -> float:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not seconds >= 0:
        raise ConfigurationError(f"{name} is a duration in seconds, not {duration!r}")
    return seconds


def _reset_in_child() -> None:
    for keyring in list(_keyrings):
        keyring.after_fork()


os.register_at_fork(after_in_child=_reset_in_child)
