"""The simulation has the test process to itself no more than any other test: threads of others run on."""

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

from sqlalchemy_cmk.keys.opening import making
from sqlalchemy_cmk.rekey import dropping
from sqlalchemy_cmk.runtime import alarm, background, clock
from tests.simulation.scheduler import Scheduler
from tests.simulation.substitutes import simulated

USES: tuple[Callable[[], Any], ...] = (
    lambda: dropping.time.sleep(0.001),
    lambda: background.threading.Event().wait(0.001),
    lambda: background.threading.Lock().acquire(),
    lambda: type(alarm.SimpleQueue()),
    lambda: clock.utc_now().year >= time.gmtime().tm_year,
    lambda: abs(clock.elapsed() - real_clock()) < 60,
    lambda: making.urandom(4) != Random(1).randbytes(4),
)
real_clock = clock.elapsed


def _nobody_seals(dek_id: bytes, seals: bool) -> None:
    raise AssertionError


def test_threads_of_others_keep_the_real_clock_locks_and_randomness() -> None:
    expected = [use() for use in USES]
    found: list[Any] = []
    with simulated(Scheduler(Random(0)), Random(1), _nobody_seals):
        thread = threading.Thread(target=lambda: found.extend(use() for use in USES))
        thread.start()
        thread.join()
    assert found == expected


def test_tasks_have_the_simulated_clock_and_randomness() -> None:
    scheduler = Scheduler(Random(0))
    found: list[Any] = []

    def work() -> None:
        dropping.time.sleep(1000)
        found.extend((clock.elapsed(), clock.utc_now().year, making.urandom(4)))

    with simulated(scheduler, Random(1), _nobody_seals):
        task = scheduler.spawn("task", work)
        while not task.ended:
            if not scheduler.step():
                scheduler.let_time_pass()
        expected = [scheduler.now, 2026]
    assert found[:2] == expected


def test_nothing_simulated_stays_behind() -> None:
    before = dropping.time, background.threading, alarm.SimpleQueue, clock.elapsed, clock.datetime
    with simulated(Scheduler(Random(0)), Random(1), _nobody_seals):
        pass
    assert (dropping.time, background.threading, alarm.SimpleQueue, clock.elapsed, clock.datetime) == before
