"""Callers that ask for the same thing share one call, in threads and under asyncio."""

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy.ext.asyncio  # noqa: F401  the bridge
from sqlalchemy.util.concurrency import greenlet_spawn

from sqlalchemy_cmk.keys.opening import single_flight
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.single_flight import SingleFlight
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from tests.support.waiting import until

SOON = 30


class Slow:
    """A call that ends when it may, under asyncio off the loop."""

    def __init__(self) -> None:
        self.made = 0
        self.end = threading.Event()
        self.begun = threading.Event()

    def __call__(self) -> str:
        self.made += 1
        return off_the_loop(self.wait)

    def wait(self) -> str:
        self.begun.set()
        assert self.end.wait(SOON)
        return "answer"


async def test_tasks_share_a_call_and_the_loop_goes_on() -> None:
    flights, call = SingleFlight(), Slow()
    tasks = [asyncio.create_task(greenlet_spawn(flights.do, "key", call)) for _ in range(50)]
    while not call.begun.is_set():
        await asyncio.sleep(0.01)
    call.end.set()
    assert set(await asyncio.gather(*tasks)) == {"answer"} and call.made == 1


async def test_a_call_outlives_the_task_that_began_it() -> None:
    flights, call = SingleFlight(), Slow()
    first = asyncio.create_task(greenlet_spawn(flights.do, "key", call))
    while not call.begun.is_set():
        await asyncio.sleep(0.01)
    second = asyncio.create_task(greenlet_spawn(flights.do, "key", call))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    call.end.set()
    assert await second == "answer" and call.made == 1


def test_a_thread_shares_the_call_of_a_loop() -> None:
    flights, call = SingleFlight(), Slow()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(lambda: asyncio.run(greenlet_spawn(flights.do, "key", call)))
        assert call.begun.wait(SOON)
        follower = pool.submit(flights.do, "key", call)
        with pytest.raises(TimeoutError):
            follower.result(0.1)
        call.end.set()
        assert leader.result(SOON) == follower.result(SOON) == "answer"
    assert call.made == 1


def test_a_call_whose_loop_was_stopped_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_flight, "LOOK_EVERY", 0.05)
    flights, call = SingleFlight(), Slow()
    loop = asyncio.new_event_loop()
    task = loop.create_task(greenlet_spawn(flights.do, "key", call))

    async def until_begun() -> None:
        while not call.begun.is_set():
            await asyncio.sleep(0.01)

    loop.run_until_complete(until_begun())  # and never goes on
    call.end.set()
    assert flights.do("key", call) == "answer" and call.made == 2
    assert loop.run_until_complete(task) == "answer"
    loop.close()


async def test_a_blocking_call_on_the_loop_does_not_wait_for_what_the_loop_has_to_do() -> None:
    flights, call = SingleFlight(), Slow()
    leader = asyncio.create_task(greenlet_spawn(flights.do, "key", call))
    while not call.begun.is_set():
        await asyncio.sleep(0.01)
    assert flights.do("key", lambda: "my own") == "my own"
    call.end.set()
    assert await leader == "answer"


def test_an_interrupt_of_one_thread_is_not_the_others() -> None:
    flights = SingleFlight()
    begun, interrupted = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        assert interrupted.wait(SOON)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.do, "key", first)
        assert begun.wait(SOON)
        waits = threading.Event()
        follower = pool.submit(flights.do, "key", lambda: "my own", waits.set)
        assert waits.wait(SOON)
        interrupted.set()
        assert follower.result(SOON) == "my own"
        with pytest.raises(KeyboardInterrupt):
            leader.result(SOON)


def test_an_error_leaves_memory_with_the_caller_who_caught_it() -> None:
    """Its traceback's frames may hold a key: only the garbage collector would find a cycle."""

    class Failure(Exception):
        pass

    def fail() -> None:
        raise Failure

    flights, calls = SingleFlight(), ProviderCalls()
    gc.disable()
    try:
        try:
            flights.do("key", lambda: calls.run("vault", fail))
        except Failure as error:
            seen = weakref.ref(error)
        until(lambda: seen() is None)
    finally:
        gc.enable()
