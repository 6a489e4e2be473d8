"""A short soak holds to its bounds, and the verdict of one finds what does not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.drill.app import text_of
from benchmarks.drill.observations import Seen
from benchmarks.drill.outcome import Stored
from benchmarks.drill.owners import CUT, REVOKED, Affected
from benchmarks.drill.setting import Times
from benchmarks.soak.chaos import Disturbance
from benchmarks.soak.clients import PAGE
from benchmarks.soak.figures import figures
from benchmarks.soak.outcome import Outcome
from benchmarks.soak.soak import Scale, Soak
from benchmarks.soak.verdict import Bounds, problems
from benchmarks.soak.watch import Worker
from benchmarks.soak.workers import Sample
from tests.support.databases import Database

SCALE = Scale(seconds=1, tenants=6, each=1, threads=1, times=Times(revalidate_after=4.0))
# Of a machine that is busy with other tests.
PATIENT = Bounds(page=60, patience=120, outage_patience=120, sessions_a_minute=1000)
MIB = 1 << 20


@pytest.mark.timeout(600)  # it starts nine processes, on a machine that may be busy
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_short_soak_is_within_its_bounds(database: Database, tmp_path: Path) -> None:
    outcome = Soak(SCALE, database.url, tmp_path).run()
    assert problems(outcome, PATIENT) == []
    assert Counter((one.server, one.what) for one in outcome.disturbances) == {
        (server, what): 1 for server in ("gunicorn", "uvicorn-asyncpg") for what in ("killed", "reloaded")
    }
    assert [one.what for one in outcome.happened] == ["disabled", "refused connections", "slow"]
    for server, seen in outcome.seen.items():
        assert {one.status for one in seen} >= {200, 403}, server
        assert {one.pid for one in outcome.alive if one.server == server} <= {one.worker for one in seen}
    assert len(outcome.stored) > SCALE.tenants
    assert "Nothing is out of bounds." in figures(outcome, PATIENT)


def seen(
    began: float, tenant: str = "acme", status: int = 200, method: str = "GET", **options: object
) -> Seen:
    return replace(Seen(began, began + 1, 7, tenant, 1, method, status, True), **options)


def happened(what: str, tenant: str = "acme") -> Affected:
    return Affected(tenant, what, (REVOKED | CUT)[what], 100, 100, 200, 200)


def samples(*memory: int, **options: int) -> list[Sample]:
    return [replace(Sample(1000.0 + 10 * at, mib * MIB, 9, 5, 2), **options) for at, mib in enumerate(memory)]


def outcome_of(*requests: Seen, **options: object) -> Outcome:
    worker = Worker("gunicorn", 7)
    outcome = Outcome(
        seconds=600,
        revalidate_after=30,
        seen={"gunicorn": [seen(10, PAGE), *requests]},
        happened=[happened("disabled"), happened("silence", "globex")],
        disturbances=[Disturbance("gunicorn", "killed", 300, 301)],
        calm=1000.0,
        samples={worker: samples(*[80] * 30)},
        alive={worker},
        sessions=[(1000.0, 5), (1300.0, 5)],
        stored=[Stored("acme", 1, text_of("acme", 1))],
    )
    return replace(outcome, **options)


@pytest.mark.parametrize(
    "good",
    [
        seen(50),
        seen(110),
        seen(150, status=403),
        seen(199.5),
        seen(201, status=403),
        seen(150, "globex", 503),
        seen(150, PAGE, 503),
        seen(150, PAGE, answer="acme"),
        seen(299.5, "other", 0, answer="ConnectionResetError"),
        seen(300.5, "other", 0, "POST", number=2),
        seen(300.5, PAGE, 500),
    ],
)
def test_what_is_due_is_no_problem(good: Seen) -> None:
    assert problems(outcome_of(good), Bounds()) == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (seen(50, right=False), "a wrong value"),
        (seen(150), "served after revalidate_after"),
        (seen(150, PAGE), "served after revalidate_after"),
        (seen(50, status=403), "status 403"),
        (seen(300, status=403), "status 403"),
        (seen(50, PAGE, answer="acme"), "sealed though its KEK serves"),
        (seen(150, PAGE, answer="acme,other"), "sealed though its KEK serves"),
        (seen(150, "other", 503), "status 503"),
        (seen(150, "globex", 500), "status 500"),
        (seen(400, "other", 0), "status 0"),
        (seen(50, method="POST", number=2), "lost"),
        (seen(150, status=403, method="POST"), "written though refused"),
        (seen(50, PAGE, ended=60, worker=8), "a page takes"),
    ],
)
def test_what_is_not_due_is_a_problem(bad: Seen, why: str) -> None:
    (found,) = problems(outcome_of(bad), Bounds())
    assert why in found


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (samples(*range(80, 110)), "memory"),
        (samples(*[80] * 20) + samples(*[80] * 30, files=99)[20:], "files"),
        (samples(*[80] * 20) + samples(*[80] * 30, threads=99)[20:], "threads"),
        (samples(*[80] * 20) + samples(*[80] * 30, sessions=99)[20:], "sessions"),
    ],
)
def test_growth_is_a_problem(taken: list[Sample], name: str) -> None:
    (found,) = problems(outcome_of(samples={Worker("gunicorn", 7): taken}), Bounds())
    assert f"{name} grew" in found


def test_sessions_that_are_opened_again_and_again_are_a_problem() -> None:
    (found,) = problems(outcome_of(sessions=[(900.0, 0), (1000.0, 50), (1300.0, 650)]), Bounds())
    assert found == "120 database sessions were opened a minute"


def test_values_that_are_stored_as_others_are_a_problem() -> None:
    (found,) = problems(outcome_of(stored=[Stored("acme", 1, "another")]), Bounds())
    assert "is stored as 'another'" in found
