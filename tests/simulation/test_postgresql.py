"""The same rules hold where processes wait for the locks of a real server."""

from collections.abc import Iterator

import pytest

from tests.simulation.postgresql import PostgreSQLDatabases
from tests.simulation.runner import run_seed
from tests.support.databases import Servers

SEEDS = 8


@pytest.fixture
def postgresql_databases(servers: Servers) -> Iterator[PostgreSQLDatabases]:
    databases = PostgreSQLDatabases(servers.url("postgresql"))
    yield databases
    databases.close()


def test_the_rules_hold_on_postgresql(postgresql_databases: PostgreSQLDatabases) -> None:
    for seed in range(SEEDS):
        run_seed(seed, postgresql_databases)


def test_a_seed_runs_again_step_by_step_on_postgresql(postgresql_databases: PostgreSQLDatabases) -> None:
    before = run_seed(4, postgresql_databases)
    assert len(before) > 100 and run_seed(4, postgresql_databases) == before
