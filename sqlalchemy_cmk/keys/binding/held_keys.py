"""The DEKs of one fetch or statement, which has asked for each once. See :class:`HeldKeys`."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose


class Deks(Protocol):
    """What gives opened DEKs: the keys of an engine, or those that a fetch or statement holds of them."""

    @property
    def reads_without_tenant(self) -> bool:
        """Whether values may be read where nothing says whose they are."""

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; see :meth:`Keyring.dek`."""

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; see :meth:`Keyring.active`."""

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's active DEK, and make none; see :meth:`Keyring.existing`."""


class HeldKeys:
    """Holds the DEKs that a batch of rows needs until it is done with: however few the cache keeps, each is
    read and unwrapped once.

    What is held serves until its deadline, as in the cache. It has none left once it was dropped there: its
    KEK has refused, or the application said so.

    Args:
        keys: the keys of the engine that the rows come from or go to.
    """

    __slots__ = ("_active", "_clock", "_deks", "_fresh", "_keys")

    def __init__(self, keys: EngineKeys) -> None:
        self._keys = keys
        self._clock = keys.clock
        self._fresh = keys.opened.fresh
        self._deks: dict[bytes, OpenedDek] = {}
        self._active: dict[tuple[str, Purpose], OpenedDek] = {}

    @property
    def reads_without_tenant(self) -> bool:
        """Whether values may be read where nothing says whose they are."""
        return self._keys.reads_without_tenant

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; see :meth:`Keyring.dek`."""
        held = self._deks.get(dek_id)
        if held is not None and self._clock() < held.deadline:
            return held
        dek = self._fresh(dek_id) or self._keys.dek(dek_id)
        if dek is not None:
            self._deks[dek_id] = dek
        return dek

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; see :meth:`Keyring.active`."""
        held = self._active.get((tenant, purpose))
        if held is not None and self._clock() < held.deadline:
            return held
        dek = self._active[tenant, purpose] = self._keys.active(tenant, purpose)
        return dek

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's active DEK, and make none; see :meth:`Keyring.existing`."""
        return self._keys.existing(tenant, purpose)

    def let_go(self) -> None:
        """Hold nothing any more: the batch is done with."""
        self._deks.clear()
        self._active.clear()


class Holders(dict[EngineKeys, HeldKeys]):
    """What one fetch or statement holds, by the engine's keys: all its columns share it."""

    def __missing__(self, keys: EngineKeys) -> HeldKeys:
        held = self[keys] = HeldKeys(keys)
        return held

    def let_go(self) -> None:
        """Hold nothing any more."""
        for held in self.values():
            held.let_go()
