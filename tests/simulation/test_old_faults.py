"""The simulation finds faults that the library had, or that a change may bring back: each is put back.

Where a seed no longer finds it, `python -m tests.simulation --seeds=2000 --put-back=FAULT` finds another.
"""

import pytest

from tests.simulation.old_faults import FAULTS, Fault
from tests.simulation.runner import Failed, run_seed, sqlite_files

FOUND = {name: fault for name, fault in FAULTS.items() if fault.seed is not None}


@pytest.mark.parametrize("fault", FOUND.values(), ids=FOUND)
def test_a_fault_that_is_put_back_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.put_back(monkeypatch)
    assert fault.seed is not None
    with sqlite_files() as databases, pytest.raises(Failed, match="BROKEN"):
        run_seed(fault.seed, databases)
