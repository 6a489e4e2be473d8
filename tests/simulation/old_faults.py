"""Faults that the library had, or that a change may bring back: each puts one back for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion import conversion
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.jobs import committed
from sqlalchemy_cmk.hooks import flush
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.lifecycle import lifecycle
from sqlalchemy_cmk.keys.lifecycle.dropping import DropReport
from sqlalchemy_cmk.keys.model import OpenedDek
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange
from sqlalchemy_cmk.keys.storage.store import KeyStore

PutBack = Callable[[pytest.MonkeyPatch], None]


def a_dek_is_used_that_was_rolled_back(patch: pytest.MonkeyPatch) -> None:
    """It was proven, so it is kept, whatever became of its row."""
    commit = Maker._commit

    def keep_it(self: Maker, keys: Any, purpose: Any) -> Any:
        kept: list[Any] = []
        apply = KeyStore.apply

        def applied(store: KeyStore, before: Any, change: KeyChange, **options: Any) -> bool:
            try:
                return apply(store, before, change, **options)
            except Exception:
                kept.append(change)
                return True

        patch.setattr(KeyStore, "apply", applied)
        try:
            return commit(self, keys, purpose)
        finally:
            patch.setattr(KeyStore, "apply", apply)

    patch.setattr(Maker, "_commit", keep_it)


def only_the_own_settings_are_believed_when_a_dek_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """For how long other processes may seal under it is recorded with the DEK, and nobody looks there."""
    droppable = lifecycle.droppable

    def of_its_own(retired: Iterable[DekRecord], *others: Any) -> DropReport:
        return droppable([replace(one, longest_use=0.0) for one in retired], *others)

    patch.setattr(lifecycle, "droppable", of_its_own)


def no_deadline_is_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A DEK that is open is used, however long ago its KEK has proven it."""
    patch.setattr(OpenedKeys, "fresh", OpenedKeys.stale)


def a_flush_believes_the_keys_that_it_began_with(patch: pytest.MonkeyPatch) -> None:
    """What was open before its first statement is taken to be open until its last."""
    active = EngineKeys.active

    def once(self: EngineKeys, tenant: str, purpose: Any) -> OpenedDek:
        under_way = flush._flushes.get()
        if not under_way:
            return active(self, tenant, purpose)
        known: dict[Any, Any] = under_way[-1][1]
        key = ("the DEK of", tenant, purpose)
        if key not in known:
            known[key] = active(self, tenant, purpose)
        found: OpenedDek = known[key]
        return found

    patch.setattr(EngineKeys, "active", once)


def two_migrations_at_once(patch: pytest.MonkeyPatch) -> None:
    """Each looks at the column, and converts it, as if there was no other."""

    @contextmanager
    def not_alone(operations: Operations, table: str, schema: str | None) -> Iterator[None]:
        with committed(operations):
            yield

    patch.setattr(conversion, "alone", not_alone)


def a_half_done_conversion_of_another_plan_is_taken_up(patch: pytest.MonkeyPatch) -> None:
    """What the shadow column holds is taken for what this migration would have put there."""
    patch.setattr(Plan, "fingerprint", "the same for all")


# Each fault, and the seed that is tried first: when the library does other things, another one finds it.
FOUND: dict[PutBack, int] = {
    a_dek_is_used_that_was_rolled_back: 0,
    two_migrations_at_once: 7,
    no_deadline_is_looked_at: 1,
    a_half_done_conversion_of_another_plan_is_taken_up: 33,
    only_the_own_settings_are_believed_when_a_dek_is_dropped: 112,
    a_flush_believes_the_keys_that_it_began_with: 58,
}
FAULTS = {one.__name__: one for one in FOUND}
