"""The DEKs of one fetch or statement, which has asked for each once. See :class:`HeldKeys`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.indexes.catalogue import IndexCatalogue
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.keys.opening.key_batch import KeyBatch
from sqlalchemy_cmk.keys.opening.questions import ActiveDek, Question


class Deks(Protocol):
    """What gives opened DEKs: the keys of an engine, or those that a fetch or statement holds of them."""

    @property
    def reads_without_tenant(self) -> bool:
        """Whether values may be read where nothing says whose they are."""

    @property
    def indexes(self) -> IndexCatalogue:
        """The database's search indexes, as far as they are recorded."""

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; see :meth:`Keyring.dek`."""

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; see :meth:`Keyring.active`."""

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's active DEK, and make none; see :meth:`Keyring.existing`."""

    def open_all(self, questions: Iterable[Question]) -> KeyBatch[Question]:
        """Open DEKs side by side; see :meth:`EngineKeys.open_all`."""

    def found_altered(self, tenant: str, column: str) -> None:
        """Note that a value is not what was sealed for a tenant."""


class HeldKeys:
    """Holds the DEKs that a batch of rows needs until it is done with: however few the cache keeps, each is
    read and unwrapped once.

    What is held serves until its deadline, as in the cache. It has none left once it was dropped there: its
    KEK has refused, or the application said so.

    Args:
        keys: the keys of the engine that the rows come from or go to.
    """

    __slots__ = ("_clock", "_fresh", "_held", "_keys")

    def __init__(self, keys: EngineKeys) -> None:
        self._keys = keys
        self._clock = keys.clock
        self._fresh = keys.opener.fresh
        self._held: dict[Question, OpenedDek] = {}

    @property
    def reads_without_tenant(self) -> bool:
        """Whether values may be read where nothing says whose they are."""
        return self._keys.reads_without_tenant

    @property
    def indexes(self) -> IndexCatalogue:
        """The database's search indexes, as far as they are recorded."""
        return self._keys.indexes

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; see :meth:`Keyring.dek`."""
        dek = self._in_time(dek_id) or self._keys.dek(dek_id)
        if dek is not None:
            self._held[dek_id] = dek
        return dek

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; see :meth:`Keyring.active`."""
        question = ActiveDek(tenant, purpose)
        dek = self._in_time(question) or self._keys.active(tenant, purpose)
        self._held[question] = dek
        return dek

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's active DEK, and make none; see :meth:`Keyring.existing`."""
        return self._keys.existing(tenant, purpose)

    def open_all(self, questions: Iterable[Question]) -> KeyBatch[Question]:
        """Open what is not held yet side by side, and hold it; see :meth:`EngineKeys.open_all`.

        All may be used when this returns, whatever one of them had to wait for.
        """
        asked = list(dict.fromkeys(questions))
        held = {one: dek for one in asked if (dek := self._in_time(one) or self._fresh(one)) is not None}
        batch = KeyBatch[Question]({}, held)
        if len(held) < len(asked):
            batch = self._keys.open_all(one for one in asked if one not in held)
            now = self._clock()
            if all(now < dek.deadline for dek in held.values()):
                batch = batch.with_held(held)
            else:
                batch = self._keys.open_all(asked)
        self._held.update(batch.opened())
        return batch

    def found_altered(self, tenant: str, column: str) -> None:
        """Note that a value is not what was sealed for a tenant."""
        self._keys.found_altered(tenant, column)

    def _in_time(self, question: Question) -> OpenedDek | None:
        """Return what is held, unless its deadline has passed."""
        held = self._held.get(question)
        return held if held is not None and self._clock() < held.deadline else None

    def let_go(self) -> None:
        """Hold nothing any more: the batch is done with."""
        self._held.clear()


class Holders(dict[EngineKeys, HeldKeys]):
    """What one fetch or statement holds, by the engine's keys: all its columns share it."""

    def __missing__(self, keys: EngineKeys) -> HeldKeys:
        held = self[keys] = HeldKeys(keys)
        return held

    def let_go(self) -> None:
        """Hold nothing any more."""
        for held in self.values():
            held.let_go()
