"""DEKs that are made in the caller's own transaction. See :class:`Uncommitted`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event, select

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.keys.model import DekState, OpenedDek
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.flows import done, result_of
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.opening.making import Wish
from sqlalchemy_cmk.keys.opening.prover import Prover, Stored
from sqlalchemy_cmk.keys.opening.questions import ActiveDek, Answers, Question
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.callers import CallersDatabase, lent
from sqlalchemy_cmk.keys.storage.database import DatabaseLocked, KeyDatabase, without_waiting
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.parts import in_parts

# DEKs that one statement asks for.
MANY = 500


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
        maker_on: returns what makes DEKs in a store.
        prover: proves DEKs.
        opened: the cache of opened DEKs.
    """

    def __init__(
        self,
        database: KeyDatabase,
        engine: Callable[[], Engine | None],
        store_on: Callable[[KeyDatabase], KeyStore],
        maker_on: Callable[[KeyStore], Maker],
        prover: Prover,
        opened: OpenedKeys,
    ) -> None:
        self._database = database
        self._engine = engine
        self._store_on = store_on
        self._maker_on = maker_on
        self._prover = prover
        self._opened = opened
        self._made: WeakKeyDictionary[Connection, _Made] = WeakKeyDictionary()

    def open_all(
        self, questions: Iterable[Question], committed: Callable[[Iterable[Question]], Answers]
    ) -> Answers:
        """Return DEKs, those that are made in this transaction among them.

        Args:
            questions: which DEKs.
            committed: opens them by the keyring's own connections.
        """
        asked = list(questions)
        caller = self._caller()
        if caller is None:
            found = committed(asked)
        else:
            found = self._open_known(caller, asked)
            found |= self._open_left(caller, [one for one in asked if one not in found], committed)
        if self._made:
            found |= self._open_made(
                [
                    one
                    for one, answer in found.items()
                    if isinstance(one, bytes) and answer.exception() is None and answer.result() is None
                ]
            )
        return {one: found[one] for one in asked}

    def _open_left(
        self,
        caller: Connection,
        questions: list[Question],
        committed: Callable[[Iterable[Question]], Answers],
    ) -> Answers:
        """Return DEKs that are committed; make those that cannot be read or made since the caller locks."""
        with without_waiting():
            found = committed(questions)
        locked = [one for one, answer in found.items() if isinstance(answer.exception(), DatabaseLocked)]
        to_make = [one for one in locked if isinstance(one, ActiveDek) and one.seals]
        if to_make:
            with suppress(DatabaseLocked):
                found |= self._make_for(caller, to_make)
        locked = [one for one in locked if isinstance(found[one].exception(), DatabaseLocked)]
        return found | committed(locked) if locked else found

    def _open_made(self, dek_ids: Collection[bytes]) -> Answers:
        """Return DEKs by their ids, of those that were made in transactions which are still open."""
        stored: dict[bytes, Stored] = {}
        # Not by the connections of those transactions, which other threads may use.
        for made in list(self._made.values()):
            for dek_id in dek_ids:
                keys = made.keys.get(dek_id)
                record = None if keys is None else keys.dek(dek_id)
                if keys is not None and record is not None:
                    stored[dek_id] = keys, record
        found: Answers = {}
        self._prover.prove_all(stored, found.__setitem__)
        return found

    def _caller(self) -> Connection | None:
        caller = lent()
        if caller is None or not self._database.has_one_writer or not caller.in_transaction():
            return None
        if not database_of(caller.dialect).may_hold_lock(caller):
            return None
        engine = self._engine()
        return caller if engine is not None and caller.engine.pool is engine.pool else None

    def _open_known(self, caller: Connection, questions: Iterable[Question]) -> Answers:
        """Return the DEKs that were made in the caller's transaction, and are still there."""
        made = self._made.get(caller)
        if made is None:
            return {}
        wishes = {one: (one.tenant, one.purpose) for one in questions if isinstance(one, ActiveDek)}
        ids = {one: made.deks[wish] for one, wish in wishes.items() if wish in made.deks}
        there = self._still_there(caller, ids.values())
        fresh = {dek_id: self._opened.fresh(dek_id) for dek_id in there}
        found: Answers = {dek_id: done(dek) for dek_id, dek in fresh.items() if dek is not None}
        found |= self._open_made([dek_id for dek_id, dek in fresh.items() if dek is None])
        return {one: found[dek_id] for one, dek_id in ids.items() if dek_id in found}

    def _still_there(self, caller: Connection, dek_ids: Iterable[bytes]) -> set[bytes]:
        deks = self._database.tables.deks.c
        there: set[bytes] = set()
        for part in in_parts(dek_ids, MANY):
            active = select(deks.id).where(deks.id.in_(part), deks.state == DekState.ACTIVE)
            there |= set(map(bytes, caller.scalars(active)))
        return there

    def _make_for(self, caller: Connection, questions: list[ActiveDek]) -> Answers:
        store = self._store(caller)
        # The lock first. Where somebody else has it, the caller must have read nothing: a transaction that
        # has read keeps every other one from committing, that of the keyring's own connection too.
        store.take_lock()
        found: dict[Wish, Future[OpenedDek | None]] = {}
        self._maker_on(store).make_all([(one.tenant, one.purpose) for one in questions], found.__setitem__)
        made, stored = self._made[caller], store.keys_of_all({tenant for tenant, _ in found})
        for wish, answer in found.items():
            keys, dek = stored[wish[0]], result_of(answer)
            if isinstance(keys, TenantKeys) and dek is not None:
                made.deks[wish], made.keys[dek.id] = dek.id, keys
        return {ActiveDek(*wish): answer for wish, answer in found.items()}

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
    deks: dict[Wish, bytes] = field(default_factory=dict)
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
