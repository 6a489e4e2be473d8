"""Threads of one process that write to one SQLite file take turns, so that none gives up."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, event

from sqlalchemy_cmk.keys.storage.turns import Turns
from tests.support.databases import Database
from tests.support.world import World

PATIENCE = 0.6
SLOW = 0.01


@pytest.fixture
def slow_commits() -> Iterator[None]:
    """Have every commit take as long as a busy disk needs for it."""

    def wait(connection: object) -> None:
        time.sleep(SLOW)

    event.listen(Engine, "commit", wait)
    yield
    event.remove(Engine, "commit", wait)


def test_no_thread_is_passed_over_while_others_commit_slowly(
    make_lite: Callable[..., World], sqlite_database: Database, slow_commits: object
) -> None:
    engine = create_engine(sqlite_database.url, connect_args={"timeout": PATIENCE})
    world = make_lite(engine=engine)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: world.keyring.warm([f"tenant {number}"], new=True), range(60)))
    verdict = world.keyring.audit.verify()
    assert verdict.problems == () and verdict.rows == 60


def test_turns_come_in_the_order_in_which_threads_came() -> None:
    turns, order = Turns(), list[int]()
    first = turns.take()

    def go(number: int) -> None:
        turn = turns.take()
        order.append(number)
        turns.end(turn)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(5)]
    for waiting, thread in enumerate(threads, 2):
        thread.start()
        while len(turns._queue) < waiting:
            time.sleep(0.001)
    assert order == []
    turns.end(first)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4] and not turns._queue


def test_who_waits_too_long_goes_without_a_turn() -> None:
    turns = Turns()
    first = turns.take()
    second = turns.take(patience=0.01)
    assert not second.is_set()
    turns.end(second)
    assert first.is_set() and len(turns._queue) == 1
    turns.end(first)
    assert turns.take(patience=0).is_set()


def test_a_thread_that_was_passed_leaves_the_queue_to_the_next() -> None:
    turns = Turns()
    first = turns.take()
    turns.take(patience=0.01)
    turns.end(first)
    third = turns.take(patience=0)
    assert third.is_set()
