"""The background writer runs jobs that nobody waits for, and repeats them until they succeed."""

import threading
from collections.abc import Iterator

import pytest

from sqlalchemy_cmk import KeyUnavailable
from sqlalchemy_cmk.runtime import background
from sqlalchemy_cmk.runtime.background import BackgroundWriter


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
