"""What a keyring does with the keys of one engine's database. See :class:`KeyOperations`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.dry_run import DryRun
from sqlalchemy_cmk.keys.kek_uses import KekUse, read_kek_uses
from sqlalchemy_cmk.keys.lifecycle.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.lifecycle.record_keys import RecordKeyLifecycle, required
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Purpose, TenantStatus
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.status import read_status
from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.scope import key_owner


class KeyOperations(ABC):
    """Everything that is about the keys of one database, whichever :attr:`keys` says.

    Each raises :class:`ConfigurationError` where that cannot be said.
    """

    platform_key: str
    dry_run: DryRun | None

    @property
    @abstractmethod
    def keys(self) -> EngineKeys:
        """The keys that a call is about."""

    @property
    def lifecycle(self) -> Lifecycle:
        """Changes tenants' keys."""
        return self.keys.lifecycle

    @property
    def audit(self) -> AuditTrail:
        """The trail of key events."""
        return self.keys.audit

    @property
    def record_keys(self) -> RecordKeys | None:
        """What authenticates the key tables; ``None`` where nothing does."""
        return self.keys.record_keys

    @property
    def observations(self) -> Observations:
        """Notes which KEKs refuse."""
        return self.keys.observations

    @property
    def connections(self) -> Connections:
        """The keyring's own connections to the application's database."""
        return self.keys.connections

    @property
    def database(self) -> KeyDatabase:
        """The key tables."""
        return self.keys.database

    @property
    def store(self) -> KeyStore:
        """Reads and writes the key tables."""
        return self.keys.store

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
        self.keys.opener.forget(None if tenant is None else key_owner(tenant))
        self.keys.wrapper.forget()

    def notice_rotations(self) -> None:
        """Look up now which DEKs other processes have retired, and stop sealing under them.

        Without this call it is noticed when the DEKs are proven again. Opened DEKs stay open; no KEK is
        asked.
        """
        off_the_loop(lambda: self.opened.keep_active(self.store.active_ids()))

    def status(self) -> list[TenantStatus]:
        """Return one line for each tenant that has keys; no KEK is asked."""
        keys = self.keys
        off_the_loop(keys.background.flush)
        return off_the_loop(lambda: read_status(keys.store, keys.opened, self.platform_key))

    def kek_uses(self, tenants: Container[str] | None = None, *, newest: bool = True) -> list[KekUse]:
        """Return which KEK versions wrap tenants' DEKs, and whether each unwraps what it has wrapped.

        Args:
            tenants: their names; ``None`` for all.
            newest: whether each KEK is asked for its newest version too.
        """
        keys = self.keys
        return off_the_loop(
            lambda: read_kek_uses(keys.store, keys.wrapper, keys.observations, tenants, newest=newest)
        )

    def dek_states(self) -> dict[bytes, DekState]:
        """Return the state of every DEK that exists or existed, by its id (8 bytes)."""
        return off_the_loop(self.store.dek_states)

    @property
    def record_key(self) -> RecordKeyLifecycle:
        """Rotates the record key, or adopts one.

        Raises:
            ConfigurationError: the keyring has none.
        """
        return RecordKeyLifecycle(required(self.record_keys), self.store, self.audit)

    @property
    def opened(self) -> OpenedKeys:
        """The opened keys of this process."""
        return self.keys.opened

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; ``None`` if no such DEK exists.

        Raises:
            KeyRevoked: its KEK refuses, or it was destroyed.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self.keys.dek(dek_id)

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; it is made at first use.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self.keys.active(tenant, purpose)

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the DEK that seals a tenant's new values; ``None`` if there is none, and none is made.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self.keys.existing(tenant, purpose)

    def _refuse_dry_run(self) -> None:
        if self.dry_run is not None:
            raise ConfigurationError("a dry run has no keys: nothing is sealed, and no KEK is asked")
