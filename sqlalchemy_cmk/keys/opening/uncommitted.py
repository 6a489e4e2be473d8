"""DEKs that are made in the caller's own transaction. See :class:`Uncommitted`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event, exists, select

from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Purpose
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.longest_use import LongestUse
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.opening.opener import Opener
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.callers import CallersDatabase, lent
from sqlalchemy_cmk.keys.storage.database import DatabaseLocked, KeyDatabase, without_waiting
from sqlalchemy_cmk.keys.storage.store import KeyStore

Asked = tuple[str, Purpose]


class Uncommitted:
    """Makes a DEK in the caller's transaction where that holds the lock which the keyring would wait for.

    SQLite has one writer. A transaction that has written a row may need another tenant's DEK for the next: a
    connection of the keyring's own would wait for its own caller. The caller's connection writes the DEK
    instead, so that a commit or a rollback takes the DEK and the rows together. Nothing else seals under it:
    it does not become the process's active DEK before it is read as committed, and each statement of the
    transaction looks first whether it is still there. It is wrapped and proven like any other.

    Args:
        database: the key tables.
        engine: returns the application's engine; ``None`` once that is collected.
        store_on: returns the store of the keys on a database.
        make: returns what makes DEKs in a store.
        opener: proves DEKs.
        opened: the cache of opened DEKs.
    """

    def __init__(
        self,
        database: KeyDatabase,
        engine: Callable[[], Engine | None],
        store_on: Callable[[KeyDatabase], KeyStore],
        make: Callable[[KeyStore, LongestUse], Maker],
        opener: Opener,
        opened: OpenedKeys,
    ) -> None:
        self._database = database
        self._engine = engine
        self._store_on = store_on
        self._make = make
        self._opener = opener
        self._opened = opened
        self._made: WeakKeyDictionary[Connection, _Made] = WeakKeyDictionary()

    def active(self, tenant: str, purpose: Purpose, committed: Callable[[], OpenedDek]) -> OpenedDek:
        """Return the DEK that seals a tenant's values in this transaction.

        Args:
            tenant: whose it is.
            purpose: what it is for.
            committed: returns the DEK by the keyring's own connection.
        """
        caller = self._caller()
        if caller is None:
            return committed()
        known = self._still_there(caller, (tenant, purpose))
        if known is not None:
            return known
        try:
            with without_waiting():
                return committed()
        except DatabaseLocked:
            pass
        try:
            return self._make_for(caller, tenant, purpose)
        except DatabaseLocked:
            pass
        return committed()

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's DEK that was made in this transaction."""
        caller = self._caller()
        return None if caller is None else self._still_there(caller, (tenant, purpose))

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return a DEK by its id that was made in a transaction which is still open."""
        # Not by the connection of that transaction, which another thread may use.
        for made in list(self._made.values()):
            keys = made.keys.get(dek_id)
            record = None if keys is None else keys.dek(dek_id)
            if keys is not None and record is not None:
                return self._opener.prove(keys, record)
        return None

    def _caller(self) -> Connection | None:
        caller = lent()
        if caller is None or not self._database.has_one_writer or not caller.in_transaction():
            return None
        engine = self._engine()
        return caller if engine is not None and caller.engine.pool is engine.pool else None

    def _still_there(self, caller: Connection, asked: Asked) -> OpenedDek | None:
        made = self._made.get(caller)
        dek_id = None if made is None else made.deks.get(asked)
        if dek_id is None:
            return None
        deks = self._database.tables.deks.c
        there = exists().where(deks.id == dek_id, deks.state == DekState.ACTIVE)
        if not caller.scalar(select(there)):
            return None
        return self._opened.fresh(dek_id) or self.dek(dek_id)

    def _make_for(self, caller: Connection, tenant: str, purpose: Purpose) -> OpenedDek:
        store = self._store(caller)
        dek = self._make(store, LongestUse(self._opener.longest_use.seconds, store)).make(tenant, purpose)
        made, keys = self._made[caller], store.keys_of(tenant)
        if keys is not None:
            made.deks[tenant, purpose], made.keys[dek.id] = dek.id, keys
        return dek

    def _store(self, caller: Connection) -> KeyStore:
        if caller not in self._made:
            made = self._made[caller] = _Made(self._opened)
            event.listen(caller, "commit", made.committed)
            event.listen(caller, "rollback", made.undone)
            event.listen(caller, "rollback_savepoint", made.undone)
        return self._store_on(CallersDatabase(self._database, caller, self._made[caller].callbacks.append))


@dataclass(slots=True)
class _Made:
    """What was made in the transaction of one connection.

    Attributes:
        opened: the cache, which opens rows that the transaction has written.
        deks: the ids of the DEKs.
        keys: the keys of their tenants, by the id.
        callbacks: what has to be called after the commit.
    """

    opened: OpenedKeys
    deks: dict[Asked, bytes] = field(default_factory=dict)
    keys: dict[bytes, TenantKeys] = field(default_factory=dict)
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def committed(self, _: Connection) -> None:
        for callback in self.callbacks:
            callback()
        self._clear()

    def undone(self, *_: object) -> None:
        for dek_id in self.deks.values():
            self.opened.forget(dek_id)
        self._clear()

    def _clear(self) -> None:
        self.deks.clear()
        self.keys.clear()
        self.callbacks.clear()
