"""Real processes and 200 tenants: what holds when owners, networks and services let go of keys."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.drill.drill import Drill, Scale
from benchmarks.drill.outcome import Outcome
from tests.support.databases import Database

SCALE = Scale()


@pytest.mark.timeout(1200)  # it wants both cores for itself, and may have a tenth of them
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_revoked_tenants_are_shut_in_every_worker_and_nobody_else_notices(
    database: Database, tmp_path: Path
) -> None:
    outcome = Drill(SCALE, database.url, tmp_path).run()
    everything_was_asked(outcome)
    assert outcome.failed_for_others() == []
    assert outcome.failed_otherwise() == []
    assert outcome.served_too_late() == [] and outcome.never_shut() == set()
    assert outcome.never_ridden_on() == set()
    assert outcome.never_back() == set()
    assert outcome.wrong() == [] and outcome.lost() == [] and outcome.unsealed == 0
    the_trail_tells_it(outcome)


def everything_was_asked(outcome: Outcome) -> None:
    """Nothing below holds because nothing happened."""
    assert len(outcome.workers) == SCALE.workers == 4
    assert len({one.tenant for one in outcome.seen}) == SCALE.tenants == 200
    assert [len(some) for some in (outcome.revoked, outcome.rotated)] == [20, 20]
    assert Counter(one.what for one in outcome.revoked) == dict.fromkeys(
        ("disabled", "deleted", "permission removed", "blocked"), 5
    )
    kinds = Counter(one.what for one in outcome.unreachable)
    assert kinds.pop("throttled") == 20 and kinds.total() == 20 and len(kinds) == 5
    assert {one.method for one in outcome.seen} == {"GET", "POST"}
    assert len(outcome.stored) > SCALE.tenants


def the_trail_tells_it(outcome: Outcome) -> None:
    assert outcome.broken_links == ()
    assert set(outcome.states.values()) == {"ok"} and len(outcome.states) == SCALE.tenants
    told = Counter(outcome.events)
    revoked = {one.tenant for one in outcome.revoked}
    assert {tenant for event, tenant in told if event == "revoked"} == revoked
    unreachable = {tenant for event, tenant in told if event == "unavailable"}
    assert unreachable
    # Each worker says so when it reaches a KEK again.
    restored = {tenant for event, tenant in told if event == "restored"}
    assert revoked <= restored <= revoked | unreachable
    rewrapped = {tenant for event, tenant in told if event == "rewrap"}
    assert rewrapped == {one.tenant for one in outcome.rotated}
