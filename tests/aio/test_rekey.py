"""Rows are re-encrypted by every asynchronous driver, and none is taken for damaged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk.rekey import Job, Rekey
from tests.conftest import empty_database
from tests.support.drivers import by_drivers
from tests.support.world import World

ROWS = 250


@pytest.fixture(params=["sqlite async", "postgresql async", "postgresql asyncpg"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Notes under a DEK that is not the active one any more, and a keyring on an asynchronous driver."""
    request.param, drivers = request.param.split()
    with by_drivers(drivers):
        for database in empty_database(request):
            world = World(database.url, tmp_path, revalidate_after=0).create()
            world.write("acme", *(f"note {n}" for n in range(ROWS)))
            world.keyring.lifecycle.rotate_dek("acme")
            yield world
            world.close()


def test_a_table_of_several_batches_is_re_encrypted(world: World) -> None:
    report = Rekey(world.keyring, chunk=100, rate=None).run(Job.of(world.notes))
    assert (report.rows_changed, report.damaged) == (ROWS, ())
    assert {bytes(row[0])[1:9] for row in world.raw("SELECT text FROM notes")} == {world.active("acme")}
    assert world.read() == [f"note {n}" for n in range(ROWS)]
