"""The simulation finds faults that the library had: each is put back, and found within 2,000 seeds."""

import pytest

from tests.simulation import old_faults
from tests.simulation.old_faults import PutBack
from tests.simulation.runner import Failed, run_seed, sqlite_files

SEEDS = 2000
FAULTS = (
    old_faults.a_dek_is_used_that_was_rolled_back,
    old_faults.two_migrations_at_once,
    old_faults.a_half_done_conversion_of_another_plan_is_taken_up,
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("put_back", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_that_is_put_back_is_found(put_back: PutBack, monkeypatch: pytest.MonkeyPatch) -> None:
    put_back(monkeypatch)
    with sqlite_files() as databases, pytest.raises(Failed, match="BROKEN"):
        for seed in range(SEEDS):
            run_seed(seed, databases)
