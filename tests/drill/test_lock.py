"""Real processes: a locked tenant is shut in every worker within seconds, and nobody else notices."""

from pathlib import Path

import pytest

from benchmarks.lock.drill import LockDrill, Scale
from tests.support.databases import Database

SCALE = Scale(tenants=8, workers=2, threads=2, pause=0.02, rows=300, rate=100, lasting=1)
BOUND = 5


@pytest.mark.timeout(600)  # it wants both cores for itself, and may have a tenth of them
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_locked_tenant_is_shut_in_every_worker_and_nobody_else_notices(
    database: Database, tmp_path: Path
) -> None:
    outcome = LockDrill(SCALE, database.url, tmp_path).run()
    assert len(outcome.workers) == SCALE.workers and outcome.never_shut() == set()
    assert max(outcome.shut().values()) < BOUND
    assert outcome.back().keys() == outcome.workers
    assert outcome.failed() == []
    assert outcome.last_change < outcome.locked + BOUND
    assert outcome.report["rows_left"] > 0
    assert f"tenant '{outcome.tenant}' is locked" in outcome.report["refused"][outcome.tenant]
