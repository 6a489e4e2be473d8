"""``kill -9`` at random moments, beside four writers: nothing is lost, nothing is done twice.

``CMK_STRESS=100`` kills a hundred times on each database; otherwise a few times.
"""

import multiprocessing
import os
import random
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk.rekey import Job, Rekey
from tests.conftest import empty_database
from tests.rekey import stress
from tests.rekey.conftest import TENANTS, rotate
from tests.support.world import World

KILLS = int(os.environ.get("CMK_STRESS", "4"))
ROWS = 4000
SECONDS = 120

context = multiprocessing.get_context("forkserver")


def process(work: Any, *arguments: Any) -> Any:
    started = context.Process(target=work, args=arguments, daemon=True)
    started.start()
    return started


def killed_until_done(world: World, kills: int) -> int:
    """Kill one run after the other until one ends by itself or enough were killed; return how many were."""
    for done in range(kills + 1):
        begun = context.Event()
        run = process(stress.re_encrypt, world.url, world.folder, begun)
        begun.wait(SECONDS)
        if done < kills:
            run.join(random.uniform(0, 0.4))
        else:
            run.join(SECONDS)
        if run.exitcode is not None:
            assert run.exitcode == 0
            return done
        run.kill()
        run.join(SECONDS)
    raise AssertionError("the run has not ended by itself")


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_killed_runs_lose_nothing_and_do_nothing_twice(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.param = kind
    for database in empty_database(request):
        world = World(database.url, tmp_path, revalidate_after=0).create()
        killing(world)
        world.close()


def killing(world: World) -> None:
    owners = [TENANTS[(n + 1) % 2] for n in range(ROWS)]
    with world.engine.begin() as connection:
        rows = [{"id": n + 1, "owner": owners[n], "text": f"first {n + 1}"} for n in range(ROWS)]
        connection.execute(world.notes.insert(), rows)
    for statement in stress.LOG[world.engine.dialect.name]:
        world.execute(statement)

    stop, said = context.Event(), context.Queue()
    writers = [
        process(stress.write_on, world.url, world.folder, n, ROWS, stop, said) for n in range(stress.WRITERS)
    ]
    killed, rounds = 0, 0
    while killed < KILLS:
        rotate(world)
        killed += killed_until_done(world, KILLS - killed)
        rounds += 1
    stop.set()
    written = [said.get(timeout=SECONDS) for _ in writers]
    for writer in writers:
        writer.join(SECONDS)

    assert [one.failures for one in written] == [[]] * len(writers), "no write of the application failed"
    expected = {n + 1: f"first {n + 1}" for n in range(ROWS)}
    for one in written:
        expected.update(one.last)
    assert stress.texts(world) == expected, "each row opens, and holds what was last written"
    rekey, job = Rekey(world.keyring), Job.of(world.notes)
    assert rekey.rows_left(job) == 0 and rekey.verify(job).ok
    known = ", ".join(str(one.connection) for one in written)
    # A run may change a row once for each DEK that is new, and never from the active DEK to itself.
    again = world.raw(
        f"SELECT id, new, count(*) FROM log WHERE by_whom NOT IN ({known}) "
        "GROUP BY id, new HAVING count(*) > 1"
    )
    assert again == [], "a row was re-encrypted twice"
    by_runs = world.raw(f"SELECT count(*) FROM log WHERE by_whom NOT IN ({known}) AND new IS NOT NULL")
    rows = sum(len(one.last) for one in written)
    name = world.engine.dialect.name
    print(f"{name}: {killed} kills, {rounds} rounds, {by_runs[0][0]} rows re-encrypted, {rows} written")
