"""`kill -9` at random moments of a column's life, beside two writers: every row keeps the value written last.

``CMK_CRASHES=20`` kills twenty times on each database, as `make crashes` does; otherwise a few times.
"""

import multiprocessing
import os
import random
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.alembic import crashing
from tests.alembic.adopting import Adoption, adoption
from tests.conftest import empty_database

KILLS = int(os.environ.get("CMK_CRASHES", "4"))
SECONDS = 240
# In the order in which a column goes through them, and what undoes one that was killed.
LIFE = ("seal", "rekey", "scrub", "open")
UNDOES = {"seal": "open", "open": "seal"}

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.alembic.crashing"])


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_killed_step_of_a_columns_life_loses_no_value(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.param = kind
    for database in empty_database(request):
        with adoption(database.url, tmp_path) as made:
            made.create()
            made.fill(crashing.ROWS)
            kills = Kills(made, database.url, tmp_path)
            kills.run()
            print(f"{kind}: {kills}")


class Kills:
    """Steps that are killed and run again, and two writers beside them."""

    def __init__(self, made: Adoption, url: str, folder: Path) -> None:
        self._made = made
        self._where = url, folder
        self._expected = crashing.values(made)
        self._writers = [
            crashing.Writer(url, folder, number, self._expected) for number in range(crashing.WRITERS)
        ]
        self._killed: list[str] = []
        # How many seconds each step took when it was last let alone.
        self._took = dict.fromkeys(LIFE, 1.0)

    def __str__(self) -> str:
        written = [one.written for one in self._writers]
        failed = {one for writer in self._writers for one in writer.failures}
        return f"killed in {', '.join(self._killed)}; {written} values written; {failed or 'none'} failed"

    def run(self) -> None:
        for one in self._writers:
            one.start()
        for step in cycle(LIFE):
            if self._is_killed(step) and step in UNDOES and random.random() < 0.3:
                self._is_killed(UNDOES[step])
            began = time.monotonic()
            assert self._do(step, SECONDS)
            self._took[step] = time.monotonic() - began
            self._check(f"after {step}: {self}")
            if len(self._killed) >= KILLS and step == LIFE[-1]:
                break
        for one in self._writers:
            one.over.set()
            one.join(SECONDS)
        assert all(one.written for one in self._writers), "each has written"

    def _is_killed(self, step: str) -> bool:
        """Begin a step and kill it, unless it has ended before."""
        if len(self._killed) >= KILLS or self._do(step, random.uniform(0, self._took[step])):
            return False
        self._killed.append(step)
        self._check(f"after {step} was killed: {self}")
        return True

    def _do(self, step: str, seconds: float) -> bool:
        """Run a step for so long; return whether it has ended by itself."""
        begun = context.Event()
        process: Any = context.Process(target=crashing.do, args=(step, *self._where, begun), daemon=True)
        process.start()
        assert begun.wait(SECONDS)
        process.join(seconds)
        if process.exitcode is not None:
            assert process.exitcode == 0, step
            return True
        process.kill()
        process.join(SECONDS)
        return False

    def _check(self, when: str) -> None:
        with ExitStack() as turns:
            for one in self._writers:
                turns.enter_context(one.turn)
            found = crashing.values(self._made)
            assert found == self._expected, when
