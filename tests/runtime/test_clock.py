"""The deadlines of keys are kept by a clock that goes on while the machine sleeps."""

import inspect
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import sqlalchemy_cmk
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.runtime import clock
from sqlalchemy_cmk.runtime.clock import elapsed

# Rates, progress and waits of work that runs, which a sleeping machine does not do: no key depends on them.
OF_WORK = {
    "alembic/conversion/patience.py",
    "alembic/jobs.py",
    "databases/postgresql/scrub.py",
    "rekey/dropping.py",
    "rekey/scheduler.py",
    "runtime/clock.py",
    "runtime/pace.py",
}


@pytest.mark.skipif(sys.platform != "linux", reason="compares with a clock of Linux")
def test_the_clock_counts_the_time_for_which_the_machine_slept() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= elapsed() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_keyring_uses_it_unless_told_otherwise() -> None:
    assert inspect.signature(Keyring).parameters["clock"].default is elapsed


@pytest.mark.parametrize(
    ("platform", "name"), [("linux", "CLOCK_BOOTTIME"), ("darwin", "CLOCK_MONOTONIC_RAW"), ("win32", None)]
)
def test_each_system_has_its_own(monkeypatch: pytest.MonkeyPatch, platform: str, name: str | None) -> None:
    asked: list[int] = []
    clocks = {} if platform == "win32" else {"CLOCK_BOOTTIME": 0, "CLOCK_MONOTONIC_RAW": 1}
    seconds = {"clock_gettime": lambda number: asked.append(number) or 7.0, "monotonic": time.monotonic}
    monkeypatch.setattr(clock, "time", SimpleNamespace(**clocks, **seconds))
    monkeypatch.setattr(clock, "sys", SimpleNamespace(platform=platform))
    found = clock._clock_that_counts_sleep()
    if name is None:
        assert found is time.monotonic
    else:
        assert found() == 7.0 and set(asked) == {clocks[name]}


def test_a_kernel_without_it_has_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> float:
        raise OSError(22, "Invalid argument")

    seconds = SimpleNamespace(CLOCK_BOOTTIME=7, clock_gettime=refuse, monotonic=time.monotonic)
    monkeypatch.setattr(clock, "time", seconds)
    monkeypatch.setattr(clock, "sys", SimpleNamespace(platform="linux"))
    assert clock._clock_that_counts_sleep() is time.monotonic


def test_nothing_else_tells_the_time_by_a_clock_that_stands_still() -> None:
    package = Path(sqlalchemy_cmk.__file__).parent
    found = {
        str(path.relative_to(package)) for path in package.rglob("*.py") if "monotonic(" in path.read_text()
    }
    assert found <= OF_WORK
