"""Faults that the library had, or that a change may bring back: each puts one back for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion import conversion
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.jobs import committed
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.records import KeyChange
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
