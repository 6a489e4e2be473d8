"""Work that may hang runs on threads of its own, so many for each place, and holds up nothing else."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from contextvars import ContextVar
from functools import partial

import pytest

from sqlalchemy_cmk.runtime import threads as module
from sqlalchemy_cmk.runtime.threads import Threads
from tests.support.waiting import until

SOON = 30

color: ContextVar[str] = ContextVar("color", default="none")


def test_a_result_and_an_error_reach_the_caller_with_the_errors_traceback() -> None:
    threads = Threads("t", 2)
    assert threads.submit("a", lambda: 7).result(SOON) == 7
    with pytest.raises(ZeroDivisionError) as caught:
        threads.submit("a", lambda: 1 // 0).result(SOON)
    assert caught.traceback[-1].name == "<lambda>"


def test_a_place_that_hangs_takes_its_own_threads_and_no_others() -> None:
    threads, end = Threads("t", 2), threading.Event()
    hung = [threads.submit("hung", lambda: end.wait(SOON)) for _ in range(5)]
    until(lambda: sum(one.running() for one in hung) == 2)
    assert threads.submit("healthy", lambda: "here").result(SOON) == "here"
    assert threads.count("hung") == 2
    assert hung[4].cancel()
    end.set()
    assert [one.result(SOON) for one in hung[:4]] == [True] * 4


def test_an_idle_thread_serves_whatever_place_has_work() -> None:
    threads = Threads("t", 2)
    for place in "abcdefgh":
        assert threads.submit(place, lambda: threads.count(place)).result(SOON) == 1  # noqa: B023
        until(lambda: threads.count(place) == 0)  # noqa: B023
    assert threads.alive <= 2


def test_all_work_is_done_however_places_and_threads_meet() -> None:
    threads, done = Threads("t", 3), Counter[str]()
    lock = threading.Lock()

    def note(place: str) -> None:
        with lock:
            done[place] += 1

    futures = [threads.submit(place, partial(note, place)) for _ in range(400) for place in "abcde"]
    for one in futures:
        one.result(SOON)
    assert done == dict.fromkeys("abcde", 400)
    assert threads.alive <= 15


def test_work_runs_in_its_callers_context() -> None:
    token = color.set("blue")
    try:
        assert Threads("t", 1).submit("a", color.get).result(SOON) == "blue"
    finally:
        color.reset(token)


def test_threads_end_when_nobody_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    threads = Threads("t", 2)
    threads.submit("a", lambda: None).result(SOON)
    until(lambda: threads.alive == 0)
    assert threads.submit("a", lambda: 1).result(SOON) == 1


def test_an_idle_thread_ends_at_once_when_they_are_closed_and_work_still_runs_afterwards() -> None:
    threads = Threads("t", 2)
    threads.submit("a", lambda: None).result(SOON)
    threads.close()
    until(lambda: threads.alive == 0)
    assert threads.submit("a", lambda: 1).result(SOON) == 1


def test_closing_waits_for_what_is_under_way_and_no_longer_than_it_is_given() -> None:
    threads, begun, end = Threads("t", 2), threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return end.wait(SOON)

    running = threads.submit("a", work)
    assert begun.wait(SOON)
    threads.close(0.01)
    assert not running.done()
    slow = threads.submit("b", lambda: time.sleep(0.2))
    threads.close(SOON)
    assert slow.done()
    end.set()
    assert running.result(SOON)


def test_an_idle_thread_holds_neither_the_result_nor_the_error() -> None:
    class Key:
        pass

    class Failure(Exception):
        pass

    def fail() -> None:
        raise Failure

    def failed() -> weakref.ref[Failure]:
        future = threads.submit("a", fail)
        try:
            future.result(SOON)
        except Failure as error:
            return weakref.ref(error)
        finally:
            del future
        raise AssertionError

    threads = Threads("t", 1)
    gc.disable()  # what only the garbage collector finds has not left memory
    try:
        key = weakref.ref(threads.submit("a", Key).result(SOON))
        error = failed()
        until(lambda: key() is None and error() is None)
        assert threads.alive == 1
    finally:
        gc.enable()


def test_a_child_does_not_wait_for_its_parents_threads() -> None:
    threads, end = Threads("t", 1), threading.Event()
    hung = threads.submit("a", lambda: end.wait(SOON))
    until(hung.running)
    child = os.fork()
    if child == 0:
        answer = threads.submit("a", lambda: 7).result(SOON)
        os._exit(answer)
    end.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


HANGS_AT_ITS_END = """
import threading
from sqlalchemy_cmk.runtime.threads import Threads
begun = threading.Event()
Threads("t", 1).submit("a", lambda: (begun.set(), threading.Event().wait()))
begun.wait()
print("done")
"""


def test_work_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS_AT_ITS_END], capture_output=True, text=True, timeout=SOON
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_where_no_thread_can_be_started_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads("t", 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            threads.submit("a", lambda: None)
    assert threads.submit("a", lambda: 1).result(SOON) == 1
