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
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.key_batch import KeyBatch
from sqlalchemy_cmk.keys.opening.making import Making
from sqlalchemy_cmk.keys.opening.opener import Opener
from sqlalchemy_cmk.keys.opening.questions import Question
from sqlalchemy_cmk.keys.records import DekRecord
from sqlalchemy_cmk.keys.storage.store import KeyStore
from tests.simulation.process import Process
from tests.simulation.vault import VaultClient

PutBack = Callable[[pytest.MonkeyPatch], None]


def a_dek_is_used_that_was_rolled_back(patch: pytest.MonkeyPatch) -> None:
    """It was proven, so it is kept, whatever became of its row."""
    commit = Making._commit_together

    def keep_it(self: Making, wrapped: Any) -> None:
        apply_all = KeyStore.apply_all

        def applied(store: KeyStore, plans: Any, **options: Any) -> set[str]:
            try:
                return apply_all(store, plans, **options)
            except Exception:
                return {keys.tenant.name for keys, _ in plans}

        patch.setattr(KeyStore, "apply_all", applied)
        try:
            commit(self, wrapped)
        finally:
            patch.setattr(KeyStore, "apply_all", apply_all)

    patch.setattr(Making, "_commit_together", keep_it)


def only_the_own_settings_are_believed_when_a_dek_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """For how long other processes may seal under it is recorded with the DEK, and nobody looks there."""
    droppable = lifecycle.droppable

    def of_its_own(retired: Iterable[DekRecord], *others: Any) -> DropReport:
        return droppable([replace(one, longest_use=0.0) for one in retired], *others)

    patch.setattr(lifecycle, "droppable", of_its_own)


def no_deadline_is_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A DEK that is open is used, however long ago its KEK has proven it."""
    patch.setattr(OpenedKeys, "fresh", OpenedKeys.stale)
    patch.setattr(Opener, "_has_expired", lambda *_: False)


def a_flush_believes_the_keys_that_it_began_with(patch: pytest.MonkeyPatch) -> None:
    """What was open before its first statement is taken to be open until its last, and it takes minutes."""
    open_all = EngineKeys.open_all

    def once(self: EngineKeys, questions: Iterable[Question]) -> KeyBatch[Question]:
        asked, under_way = list(questions), flush._flushes.get()
        if not under_way:
            return open_all(self, asked)
        known: dict[Any, Any] = under_way[-1][1]
        batch = open_all(self, [one for one in asked if one not in known])
        if not known:
            process_of(self).scheduler.sleep(200)
        known.update(batch.opened())
        return batch.with_held({one: known[one] for one in asked if one in known})

    patch.setattr(EngineKeys, "open_all", once)


def process_of(keys: EngineKeys) -> Process:
    (client,) = keys._settings.providers
    assert isinstance(client, VaultClient)
    return client.process


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
    a_dek_is_used_that_was_rolled_back: 3,
    two_migrations_at_once: 19,
    no_deadline_is_looked_at: 16,
    a_half_done_conversion_of_another_plan_is_taken_up: 8,
    only_the_own_settings_are_believed_when_a_dek_is_dropped: 108,
    a_flush_believes_the_keys_that_it_began_with: 1,
}
FAULTS = {one.__name__: one for one in FOUND}
