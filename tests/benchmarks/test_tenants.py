"""The benchmarks of many tenants run, and with few tenants they show what they show with many."""

from pathlib import Path

import pytest

from benchmarks.tenants.__main__ import subjects
from benchmarks.tenants.figure import Setting
from benchmarks.tenants.threads import threads


def test_each_subject_registers_itself() -> None:
    assert {"flat", "looking", "threads"} <= set(subjects())


def test_threads_with_a_small_cache_read_nothing_wrong_nor_unwrap_a_key_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.tenants.threads.THREADS", 8)
    monkeypatch.setattr("benchmarks.tenants.threads.PAGE", 5)
    wrong, at_once = threads(Setting(tmp_path, tenants=30, seconds=0.5))
    assert (wrong.measured, at_once.measured) == (0, 1)
