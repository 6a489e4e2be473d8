"""The simulation finds faults that the library had, or that a change may bring back: each is put back."""

import pytest

from tests.simulation.old_faults import FOUND, PutBack
from tests.simulation.runner import Failed, run_seed, sqlite_files

SEEDS = 100


@pytest.mark.parametrize(("fault", "seed"), FOUND.items(), ids=[one.__name__ for one in FOUND])
def test_a_fault_that_is_put_back_is_found(
    fault: PutBack, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with sqlite_files() as databases, pytest.raises(Failed, match="BROKEN"):
        for one in (seed, *range(SEEDS)):
            run_seed(one, databases)
