"""Workers run in threads, in processes and on a cluster, and open their own keys."""

import logging
import multiprocessing
import os
import pickle
import resource
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey import Job, Progress, Rekey, scheduler, worker
from sqlalchemy_cmk.runtime import pace
from tests.keys.processes import apart
from tests.rekey import worker_keyring
from tests.rekey.conftest import TENANTS, add_people, at_write, fill, rotate, sealing, values
from tests.support.world import World


@pytest.fixture(autouse=True)
def ranges_of_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MAX_CHUNKS", 2)


@pytest.fixture
def keyring_path(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a keyring over the world's database, for processes that are started from now on."""
    monkeypatch.setenv(worker_keyring.URL, world.url)
    monkeypatch.setenv(worker_keyring.FOLDER, str(world.folder))
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setattr(worker, "_contexts", {})
    return worker_keyring.PATH


@contextmanager
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


@contextmanager
def cluster() -> Iterator[Executor]:
    from distributed import Security

    with dask(security=Security.temporary()) as executor:
        yield executor


@contextmanager
def dask(**options: Any) -> Iterator[Executor]:
    from distributed import Client, LocalCluster

    quiet = {"dashboard_address": None, "silence_logs": logging.ERROR}
    with ExitStack() as stack:
        made = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, **quiet, **options))
        yield stack.enter_context(Client(made)).get_executor()


def test_a_cluster_without_tls_is_refused_unless_it_is_meant(world: World, keyring_path: str) -> None:
    with dask(processes=False, protocol="tcp://") as executor:
        with pytest.raises(ConfigurationError, match=r"tcp://.* is open.*tls://.*insecure=True"):
            Rekey(world.keyring, executor=executor, keyring_path=keyring_path)
        Rekey(world.keyring, executor=executor, keyring_path=keyring_path, insecure=True)
    with dask(processes=False) as executor:
        Rekey(world.keyring, executor=executor, keyring_path=keyring_path)


@pytest.mark.parametrize("many", [1, 3])
def test_threads_of_this_process_share_the_work(many: int, world: World) -> None:
    rotate(world)
    report = Rekey(world.keyring, chunk=10, rate=None, workers=many).run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 120, report
    assert values(world, world.notes.c.text)[59:61] == ["acme 59", "globex 0"]


@pytest.mark.drivers("sync")  # that of the workers' own keyrings
@pytest.mark.parametrize("make", [processes, cluster])
def test_workers_in_other_processes_open_their_own_keys(make: Any, world: World, keyring_path: str) -> None:
    rotate(world)
    with make() as executor:
        rekey = Rekey(
            world.keyring, chunk=10, rate=None, workers=2, executor=executor, keyring_path=keyring_path
        )
        report = rekey.run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 120, report
    assert values(world, world.notes.c.text)[59:61] == ["acme 59", "globex 0"]


class Recording(Executor):
    """Runs what it is given in threads, after it went through pickle as to another process."""

    def __init__(self) -> None:
        self.pickles: list[bytes] = []
        self._threads = ThreadPoolExecutor(2)

    def submit(self, work: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        self.pickles.append(pickle.dumps((work, arguments)))
        again, copies = pickle.loads(self.pickles[-1])
        return self._threads.submit(again, *copies)


def test_no_key_and_no_value_travels_to_a_worker(world: World, keyring_path: str) -> None:
    rotate(world)
    executor = Recording()
    rekey = Rekey(world.keyring, chunk=10, rate=None, workers=2, executor=executor, keyring_path=keyring_path)
    assert rekey.run(Job.of(world.notes)).ok
    assert len(executor.pickles) >= 6
    together = b"".join(executor.pickles)
    for tenant in TENANTS:
        dek = world.keyring.active(tenant, Purpose.RANDOMIZED)
        secrets = [value for name in dir(dek) if isinstance(value := getattr(dek, name, None), bytes)]
        assert not any(secret in together for secret in secrets if len(secret) >= 8)
    assert b"keys.json" not in together and world.url.encode() not in together
    assert b"globex 0" not in together and max(map(len, executor.pickles)) < 2000


def test_a_worker_whose_keyring_is_over_another_database_says_so(
    world: World, keyring_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(world)
    elsewhere = f"sqlite:///{tmp_path}/another.sqlite"
    World(elsewhere, tmp_path).create().close()
    monkeypatch.setenv(worker_keyring.URL, elsewhere)
    rekey = Rekey(world.keyring, chunk=10, rate=None, executor=Recording(), keyring_path=keyring_path)
    with pytest.raises(ConfigurationError, match="over the database of the run"):
        rekey.run(Job.of(world.notes))
    assert rekey.rows_left(Job.of(world.notes)) == 120


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_executor_needs_to_know_where_its_workers_find_their_keyring(world: World) -> None:
    with pytest.raises(ConfigurationError, match="workers in other processes open their own keys"):
        Rekey(world.keyring, executor=Recording())


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("options", [{"chunk": 0}, {"workers": 0}, {"rate": 0}, {"rate": -1}])
def test_options_out_of_bounds_are_refused(options: dict[str, Any], world: World) -> None:
    with pytest.raises(ConfigurationError, match="chunk and workers are at least 1"):
        Rekey(world.keyring, **options)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_rate_is_kept_by_all_workers_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(world)
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(scheduler, "MAX_CHUNKS", 50)
    monkeypatch.setattr(scheduler, "MIN_CHUNKS", 50)
    assert Rekey(world.keyring, chunk=10, rate=20, workers=2).run(Job.of(world.notes)).ok
    # One range, so one worker of the two: it may take half the rate. The last batch is not waited for.
    assert clock.now == pytest.approx(110 / 10)


def test_ranges_become_shorter_towards_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(world)
    monkeypatch.setattr(scheduler, "MAX_CHUNKS", 25)
    assert Rekey(world.keyring, chunk=1, rate=None, workers=2).run(Job.of(world.notes)).ok
    ranges = [row[0] for row in world.raw("SELECT rows_read FROM cmk_rekey_ranges ORDER BY seq")]
    assert ranges[:3] == [25, 23, 18] and ranges[-2:] == [5, 3]


def test_progress_adds_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.0)
    rotate(world)
    seen: list[Progress] = []
    report = Rekey(world.keyring, chunk=10, rate=None, workers=2).run(Job.of(world.notes), seen.append)
    assert report.ok
    read = [one.rows_read for one in seen]
    assert read == sorted(read) and read[-1] == 120 == seen[-1].rows_changed
    assert {one.rows_expected for one in seen} == {120} and seen[-1].seconds_left in (0, None)
    run = Rekey(world.keyring).runs()[0]
    assert (run.rows_expected, run.passes, run.ended_at is not None) == (120, 1, True)


def grown(url: str, folder: Path, rows: int) -> float:
    """How many MiB a process grows by, at its most, while it re-encrypts."""
    world = World(url, folder, revalidate_after=0)
    job = Job.of(world.notes)
    world.keyring.lifecycle.rotate_dek("acme")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = Rekey(world.keyring, rate=None).run(job)
    assert report.ok and report.rows_changed == rows
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    world.close()
    return (after - before) / 1024


def test_memory_does_not_grow_with_the_table(server_world: World) -> None:
    server_world.execute("DELETE FROM notes")
    sizes = []
    for rows in (5_000, 30_000):
        count = server_world.raw("SELECT count(*) FROM notes")[0][0]
        server_world.write("acme", *(f"a secret of some length {n}" for n in range(rows - count)))
        sizes.append(apart(grown, server_world.url, server_world.folder, rows))
    assert sizes[1] <= 60, sizes
    assert sizes[1] - sizes[0] <= 10, sizes


def test_batches_of_large_values_are_cut_short(bare: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.rekey.reading.MAX_BYTES", 40_000)
    kind = String(4000)
    table = add_people(bare, kind, secret=EncryptedType(kind))
    fill(bare, table, [{"id": n + 1, "owner": "acme", "plain": "x" * 4000} for n in range(60)])
    with at_write(1, lambda: None) as batches:
        job = Job("people", (sealing("plain", "secret", kind),), tenant_column="owner")
        report = Rekey(bare.keyring, chunk=50, rate=None).run(job)
    assert report.ok and report.rows_changed == 60
    assert len(batches) == 6, "ten rows of 4,000 bytes each"
