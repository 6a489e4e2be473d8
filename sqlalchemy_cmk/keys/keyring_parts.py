"""What a keyring has for the keys of one engine's database. See :class:`KeyringParts`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sqlalchemy_cmk.keys.approvals.approvals import Approvals
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.dry_run import DryRun
from sqlalchemy_cmk.keys.events.deliveries import Deliveries
from sqlalchemy_cmk.keys.indexes.catalogue import IndexCatalogue
from sqlalchemy_cmk.keys.lifecycle.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.lifecycle.record_keys import RecordKeyLifecycle, required
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.store import KeyStore


class KeyringParts(ABC):
    """The parts of a keyring: those of the one database that :attr:`keys` determines.

    Each raises :class:`ConfigurationError` if that is ambiguous.
    """

    platform_key: str
    dry_run: DryRun | None

    @property
    @abstractmethod
    def keys(self) -> EngineKeys:
        """The keys that a call applies to."""

    @property
    def lifecycle(self) -> Lifecycle:
        """Changes tenants' keys."""
        return self.keys.lifecycle

    @property
    def audit(self) -> AuditTrail:
        """The trail of key events."""
        return self.keys.audit

    @property
    def events(self) -> Deliveries:
        """The key events that wait for webhooks, or that were given up."""
        return self.keys.deliveries

    @property
    def approvals(self) -> Approvals:
        """The requests that wait for a second person, with ``Keyring(two_people=)``."""
        return self.keys.approvals

    @property
    def record_keys(self) -> RecordKeys | None:
        """What authenticates the key tables; ``None`` if nothing does."""
        return self.keys.record_keys

    @property
    def observations(self) -> Observations:
        """Records which KEKs refuse."""
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
    def indexes(self) -> IndexCatalogue:
        """The database's recorded search indexes."""
        return self.keys.indexes

    @property
    def store(self) -> KeyStore:
        """Reads and writes the key tables."""
        return self.keys.store

    @property
    def record_key(self) -> RecordKeyLifecycle:
        """Rotates the record key, or adopts one.

        Raises:
            ConfigurationError: the keyring has none.
        """
        close = self.approvals.close_all
        return RecordKeyLifecycle(required(self.record_keys), self.store, self.audit, close)

    @property
    def opened(self) -> OpenedKeys:
        """The opened keys of this process."""
        return self.keys.opened
