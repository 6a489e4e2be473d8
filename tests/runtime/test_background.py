"""The background writer runs jobs that nobody waits for, and repeats them until they succeed."""

import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from weakref import ref

import pytest
from sqlalchemy import MetaData, create_engine

from sqlalchemy_cmk import Keyring, KeyUnavailable
from sqlalchemy_cmk.keys.storage.tables import make_all_tables
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.runtime import background
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from tests.support.waiting import until


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundWriter]:
    monkeypatch.setattr(background, "DELAY", 60)
    writer = BackgroundWriter()
    yield writer
    writer.close()


def test_a_job_runs_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "DELAY", 0.01)
    writer, done = BackgroundWriter(), threading.Event()
    writer.submit("state", done.set)
    assert done.wait(10)
    writer.close()


def test_a_job_replaces_the_waiting_one_of_the_same_key(writer: BackgroundWriter) -> None:
    ran: list[str] = []
    writer.submit("acme", lambda: ran.append("old"))
    writer.submit("globex", lambda: ran.append("other"))
    writer.submit("acme", lambda: ran.append("new"))
    writer.flush()
    writer.flush()
    assert sorted(ran) == ["new", "other"]


def test_a_job_that_fails_runs_again(writer: BackgroundWriter) -> None:
    attempts: list[int] = []

    def job() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise KeyUnavailable("the key tables are locked")

    writer.submit("audit", job)
    for _ in range(5):
        writer.flush()
    assert len(attempts) == 3


def test_that_writing_fails_is_said_once_and_so_is_that_it_works_again(
    writer: BackgroundWriter, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = [KeyUnavailable("the key tables are locked")] * 3

    def job() -> None:
        if errors:
            raise errors.pop()

    with caplog.at_level(logging.WARNING, "sqlalchemy_cmk.keys"):
        for _ in range(5):
            writer.submit("audit", job)
            writer.flush()
    assert [one.getMessage() for one in caplog.records] == [
        "key events cannot be written now, and wait: KeyUnavailable",
        "key events are written again",
    ]


def test_attempts_become_rarer_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    writer = BackgroundWriter()

    def wait(seconds: float | None = None) -> bool:
        waits.append(seconds or 0)
        return len(waits) == 9

    def job() -> None:
        raise KeyUnavailable("the database is gone")

    monkeypatch.setattr(writer._closed, "wait", wait)
    writer.submit("audit", job)
    until(lambda: len(waits) == 9)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_thread_of_a_keyring_that_was_dropped_ends_though_its_tables_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread keeps the keyring while it tries: most of the time it must not.
    monkeypatch.setattr(background, "DELAY", 0.2)
    monkeypatch.setattr(background, "LONGEST_DELAY", 0.3)
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    make_all_tables(metadata := MetaData(), "cmk_")
    metadata.create_all(engine)
    keyring.warm(["acme"], new=True)
    keyring.keys.background.flush()
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE cmk_audit")
    keyring.forget()
    keyring.warm(["acme"], new=True)  # its event cannot be written
    thread, writer = keyring.keys.background._thread, ref(keyring.keys.background)
    assert thread is not None
    del keyring, engine, connection

    def ended() -> bool:
        gc.collect()
        return writer() is None and not thread.is_alive()

    until(ended)


def test_closing_runs_what_waits(writer: BackgroundWriter) -> None:
    ran: list[str] = []
    writer.submit("audit", lambda: ran.append("written"))
    writer.close()
    assert ran == ["written"]


def test_a_forked_child_leaves_the_jobs_to_its_parent(writer: BackgroundWriter) -> None:
    ran: list[str] = []
    writer.submit("audit", lambda: ran.append("written"))
    writer.after_fork()
    writer.flush()
    assert ran == []
