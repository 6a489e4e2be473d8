"""Puts the simulated clock, threads and randomness where the library has imported the real ones.

The modules are those of the whole test process, in which threads of earlier tests' keyrings may still run. So
each substitute looks at who calls: the simulation's tasks get what is simulated, all others the real thing.
"""

from __future__ import annotations

import concurrent.futures
import os
import queue
import random
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from random import Random, SystemRandom
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import MetaData

import sqlalchemy_cmk.alembic.plugin
import sqlalchemy_cmk.hooks
import sqlalchemy_cmk.rekey.dropping
import sqlalchemy_cmk.rekey.engine  # noqa: F401  (whatever is imported later would keep the real ones)
from sqlalchemy_cmk.databases.reflection import reflected_table
from sqlalchemy_cmk.keys.storage import database
from sqlalchemy_cmk.keys.storage.tables import make_all_tables
from sqlalchemy_cmk.runtime import clock
from tests.simulation import primitives
from tests.simulation.dialects import all_tables, create_engine, key_metadata
from tests.simulation.reflection import kept_table
from tests.simulation.scheduler import Scheduler
from tests.simulation.uses import Judge, SeenCipher, ciphers

_OURS = "sqlalchemy_cmk."
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def simulated(scheduler: Scheduler, randomness: Random, judge: Judge) -> Iterator[Callable[[], float]]:
    """Have the library run under a scheduler; yields its clock, for keyrings.

    Args:
        scheduler: the scheduler.
        randomness: gives the bytes of keys and the ids of DEKs, so that a seed repeats them.
        judge: judges each use of a DEK.
    """

    def elapsed() -> float:
        return scheduler.now

    replacements = _replacements(scheduler, randomness, elapsed)
    undo = [(names, key, names[key]) for names, key in _places(len(sys.modules))]
    for names, key, value in undo:
        new = replacements[id(value)] if id(value) in replacements else Random(randomness.random())
        names[key] = _Substitute(scheduler, value, new)
    others = [(clock, "datetime", _Today(scheduler)), (database, "MetaData", _key_metadata)]
    others += [(one, "algorithm", partial(SeenCipher, one.algorithm, judge)) for one in ciphers()]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, new in others:
            patch.setattr(owner, name, _Substitute(scheduler, getattr(owner, name), new))
        try:
            yield elapsed
        finally:
            for names, key, value in undo:
                names[key] = value


@cache
def _places(_: int) -> list[tuple[dict[str, Any], str]]:
    """Where the library's modules hold what is replaced, for as long as no module is added to these."""
    originals = _replacements(Scheduler(Random()), Random(), float)
    modules = [vars(module) for name, module in sorted(sys.modules.items()) if name.startswith(_OURS)]
    return [
        (names, key)
        for names in modules
        for key, value in names.items()
        if id(value) in originals or isinstance(value, SystemRandom)
    ]


class _Substitute:
    """A module, function, class or object, of which each caller finds its own.

    Args:
        scheduler: knows whether its tasks call.
        real: for everybody else.
        simulated: for its tasks.
    """

    def __init__(self, scheduler: Scheduler, real: Any, simulated: Any) -> None:
        self._scheduler = scheduler
        self._real = real
        self._simulated = simulated

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._of_the_caller(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_the_caller, name)

    @property
    def _of_the_caller(self) -> Any:
        return self._simulated if self._scheduler.runs_here else self._real


def _key_metadata() -> MetaData:
    return key_metadata


class _Today:
    """`datetime`, of which the clock asks nothing else; machines may be some seconds apart."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self, zone: Any = None) -> datetime:
        task = self._scheduler.current
        apart = task.process.seconds_apart if task and task.process else 0.0
        return EPOCH + timedelta(seconds=round(self._scheduler.now + apart, 6))


def _replacements(scheduler: Scheduler, randomness: Random, elapsed: Callable[[], float]) -> dict[int, Any]:
    times = primitives.time_of(scheduler)
    originals: list[tuple[Any, Any]] = [
        (threading, primitives.threading_of(scheduler)),
        (time, times),
        (time.sleep, times.sleep),
        (clock.elapsed, elapsed),
        (queue.Queue, partial(primitives.Queue, scheduler)),
        (queue.SimpleQueue, partial(primitives.Queue, scheduler)),
        (concurrent.futures.wait, partial(primitives.wait_for_futures, scheduler)),
        (concurrent.futures.ThreadPoolExecutor, partial(primitives.Executor, scheduler)),
        (os.urandom, randomness.randbytes),
        (secrets.token_bytes, randomness.randbytes),
        (secrets.token_hex, lambda count=16: randomness.randbytes(count).hex()),
        (random.uniform, randomness.uniform),
        (sqlalchemy.create_engine, create_engine),
        (make_all_tables, all_tables),
        (reflected_table, kept_table),
        (sqlite3, _sqlite3_of(scheduler)),
    ]
    return {id(original): new for original, new in originals}


def _sqlite3_of(scheduler: Scheduler) -> SimpleNamespace:
    """The module `sqlite3`, whose connections end with their process: their locks are files'."""

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **options)
        task = scheduler.current
        if task is not None and task.process is not None:
            task.process.wire.connections.append(connection)
        return connection

    return SimpleNamespace(**{**vars(sqlite3), "connect": connect})
