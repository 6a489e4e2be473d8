"""A lock stops a re-key worker: in a process of its own, before the next batch that it reads."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

import pytest

from sqlalchemy_cmk.rekey import Job, Rekey, worker
from tests.rekey import worker_keyring
from tests.rekey.conftest import rotate
from tests.support.world import World
from tests.support.worlds import until

CHUNK = 5
# Two batches are written; one is being written when the lock is noticed, and two were read ahead.
MOST = 5 * CHUNK


@pytest.mark.drivers("sync")  # that of the worker's own keyring
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_worker_process_stops_changing_a_locked_tenants_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(worker_keyring.URL, world.url)
    monkeypatch.setenv(worker_keyring.FOLDER, str(world.folder))
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setattr(worker, "_contexts", {})
    rotate(world)

    def lock() -> None:
        until((world.folder / "reached").exists)
        other = World(world.url, world.folder)
        other.keyring.lock("acme")
        other.close()

    locking = threading.Thread(target=lock)
    locking.start()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        rekey = Rekey(
            world.keyring,
            chunk=CHUNK,
            rate=None,
            executor=executor,
            keyring_path=worker_keyring.LOCKED_PATH,
        )
        with world.keyring.because("DPIA 12"):
            report = rekey.run(Job.of(world.notes))
    locking.join()
    assert "tenant 'acme' is locked" in report.refused["acme"]
    moved = report.rows_changed - 60  # all of globex's
    assert 2 * CHUNK <= moved <= MOST and report.rows_left == 60 - moved
    # What was said here is in the trail of the worker's process too.
    opened = [one for one in world.keyring.audit.entries("acme") if one.event == "unwrap"]
    told = [one.detail for one in opened if one.detail.startswith(f"rekey run {report.run_id}, call ")]
    assert told and all(one.endswith("; because: DPIA 12") for one in told)
    world.keyring.unlock("acme")
    again = rekey_all(world)
    assert again == 60 - moved


def rekey_all(world: World) -> int:
    report = Rekey(world.keyring, rate=None).run(Job.of(world.notes))
    assert report.ok
    return report.rows_changed
