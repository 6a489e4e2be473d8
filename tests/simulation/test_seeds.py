"""The rules that protect data hold in every interleaving that these seeds choose, whatever fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.runner import Failed, run_seed, sqlite_files

ROOT = Path(__file__).parents[2]
SEEDS = 200
TOGETHER = 10


# Others run with the newest SQLAlchemy only.
OLDER = 0


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(one, marks=[] if one == OLDER else pytest.mark.newest_sqlalchemy)
        for one in range(0, SEEDS, TOGETHER)
    ],
)
def test_the_rules_hold_in_every_interleaving(first: int) -> None:
    failed = []
    with sqlite_files() as databases:
        for seed in range(first, first + TOGETHER):
            try:
                run_seed(seed, databases)
            except Failed as error:
                failed.append(f"{error}\nagain: make simulate SEEDS=1 START={seed}")
    assert not failed, "\n\n".join(failed)


@pytest.mark.newest_sqlalchemy
def test_a_seed_runs_again_step_by_step() -> None:
    with sqlite_files() as databases:
        before = run_seed(3, databases)
        assert len(before) > 100 and run_seed(3, databases) == before


@pytest.mark.newest_sqlalchemy
def test_a_seed_runs_again_in_another_process_whatever_its_hashes() -> None:
    """Sets of texts have another order in each process: no order of the library's may follow from theirs."""
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seeds=4", "--start=7", "--trace"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for hashes in ("0", "7")
    ]
    assert traces[0][:-1] == traces[1][:-1]
