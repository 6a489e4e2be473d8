"""carry_scope takes the scope to threads, executors, generators and whatever a framework runs later."""

import asyncio
import inspect
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from multiprocessing import get_context
from typing import Any

import pytest

from sqlalchemy_cmk import ConfigurationError, carry_scope, tenant_scope
from sqlalchemy_cmk.scope import current_tenant


def ask(*_: object) -> str | None:
    return current_tenant()


async def ask_later() -> str | None:
    await asyncio.sleep(0)
    return current_tenant()


def ask_twice() -> Iterator[str | None]:
    yield current_tenant()
    yield current_tenant()


async def ask_twice_later() -> AsyncIterator[str | None]:
    yield current_tenant()
    await asyncio.sleep(0)
    yield current_tenant()


class Asker:
    def ask(self) -> str | None:
        return current_tenant()

    async def __call__(self) -> str | None:
        return await ask_later()


def test_a_pool_runs_carried_work_in_its_scope_and_other_work_in_none() -> None:
    with ThreadPoolExecutor(1) as pool:
        with tenant_scope("acme"):
            carried, forgotten = pool.submit(carry_scope(ask)), pool.submit(ask)
            mapped = pool.map(carry_scope(ask), range(2))
        assert (carried.result(), forgotten.result()) == ("acme", None)
        assert list(mapped) == ["acme", "acme"]
        assert pool.submit(ask).result() is None


def test_one_carried_function_runs_in_many_threads_at_once() -> None:
    everyone_is_inside = threading.Barrier(4)

    def work(_: int) -> str | None:
        everyone_is_inside.wait(timeout=60)
        return current_tenant()

    with ThreadPoolExecutor(4) as pool, tenant_scope("acme"):
        assert list(pool.map(carry_scope(work), range(4))) == ["acme"] * 4


def test_a_thread_runs_its_carried_target_in_the_scope() -> None:
    seen: list[str | None] = []
    with tenant_scope("acme"):
        thread = threading.Thread(target=carry_scope(lambda: seen.append(current_tenant())))
    thread.start()
    thread.join()
    assert seen == ["acme"]


def test_carried_work_goes_to_other_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with tenant_scope("acme"):
            assert pool.submit(carry_scope(ask)).result(timeout=60) == "acme"
        assert pool.submit(ask).result(timeout=60) is None
    with tenant_scope("acme"):
        stored = pickle.dumps(carry_scope(ask_later))
    assert asyncio.run(pickle.loads(stored)()) == "acme"


async def test_executors_of_asyncio_run_carried_work_in_its_scope() -> None:
    loop = asyncio.get_running_loop()
    with tenant_scope("acme"):
        assert await loop.run_in_executor(None, ask) is None
        assert await loop.run_in_executor(None, carry_scope(ask)) == "acme"
        called: asyncio.Future[str | None] = loop.create_future()
        work = carry_scope(lambda: called.set_result(current_tenant()))
    loop.call_soon(work, context=copy_context())
    assert await called == "acme"


def test_the_scope_of_where_it_was_carried_from_counts_and_not_that_of_where_it_runs() -> None:
    with tenant_scope("acme"):
        work = carry_scope(ask)
    outside = carry_scope(ask)
    with tenant_scope("globex"):
        assert (work(), outside(), current_tenant()) == ("acme", None, "globex")


def test_carried_work_is_called_with_its_arguments_and_keeps_its_name() -> None:
    def add(one: int, *, two: int) -> int:
        """Add."""
        return one + two

    with tenant_scope("acme"):
        work = carry_scope(add)
    assert work(1, two=2) == 3
    assert (work.__name__, work.__doc__) == ("add", "Add.")
    assert inspect.signature(work) == inspect.signature(add)


def test_an_error_of_carried_work_leaves_it_and_the_scope_is_left() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with tenant_scope("acme"):
        work = carry_scope(fail)
    with pytest.raises(ZeroDivisionError):
        work()
    assert current_tenant() is None


@pytest.mark.parametrize(
    "work",
    [ask_later, Asker(), partial(ask_later), lambda: ask_later()],
    ids=["function", "object", "partial", "lambda"],
)
async def test_coroutine_functions_run_in_the_scope_on_both_sides_of_await(work: Any) -> None:
    with tenant_scope("acme"):
        carried = carry_scope(work)
    with tenant_scope("globex"):
        assert await carried() == "acme"
        assert current_tenant() == "globex"
    assert inspect.iscoroutinefunction(carried) or not inspect.iscoroutinefunction(work)


async def test_a_coroutine_runs_in_the_scope_in_which_it_was_carried() -> None:
    with tenant_scope("acme"):
        work = carry_scope(ask_later())
    task = asyncio.create_task(work)
    assert (await task, current_tenant()) == ("acme", None)


def test_a_carried_generator_runs_in_its_scope_and_its_caller_does_not() -> None:
    with tenant_scope("acme"):
        rows = carry_scope(ask_twice())
    with tenant_scope("globex"):
        for seen in rows:
            assert (seen, current_tenant()) == ("acme", "globex")


def test_carried_generators_that_take_turns_keep_their_own_scopes() -> None:
    with tenant_scope("acme"):
        first = carry_scope(ask_twice)()
    with tenant_scope("globex"):
        second = carry_scope(ask_twice)()
    turns = [next(first), next(second), current_tenant(), next(first), next(second)]
    assert turns == ["acme", "globex", None, "acme", "globex"]


def test_each_step_may_run_in_a_context_of_its_own() -> None:
    with tenant_scope("acme"):
        rows = carry_scope(ask_twice())
    assert [copy_context().run(next, rows), copy_context().run(next, rows)] == ["acme", "acme"]
    with ThreadPoolExecutor(1) as pool, tenant_scope("acme"):
        rows = carry_scope(ask_twice())
        assert pool.submit(list, rows).result() == ["acme", "acme"]


def test_a_carried_generator_is_sent_to_thrown_at_and_closed_in_its_scope() -> None:
    seen: list[object] = []

    def echo() -> Iterator[Any]:
        sent: Any = None
        try:
            while True:
                try:
                    sent = yield (sent, current_tenant())
                except ValueError:
                    sent = "an error"
        finally:
            seen.append(current_tenant())

    with tenant_scope("acme"):
        rows: Any = carry_scope(echo())
    assert next(rows) == (None, "acme")
    assert rows.send(1) == (1, "acme")
    assert rows.throw(ValueError("no")) == ("an error", "acme")
    rows.close()
    assert seen == ["acme"] and list(rows) == []


async def test_a_carried_asynchronous_generator_runs_in_its_scope_and_its_caller_does_not() -> None:
    with tenant_scope("acme"):
        rows = carry_scope(ask_twice_later())
        made = carry_scope(ask_twice_later)()
    with tenant_scope("globex"):
        async for seen in rows:
            assert (seen, current_tenant()) == ("acme", "globex")
        assert [seen async for seen in made] == ["acme", "acme"]
    assert await asyncio.create_task(anext(carry_scope(ask_twice_later()), "none")) is None  # type: ignore


async def test_a_carried_asynchronous_generator_is_sent_to_thrown_at_and_closed_in_its_scope() -> None:
    seen: list[object] = []

    async def echo() -> Any:
        sent: Any = None
        try:
            while True:
                try:
                    sent = yield (sent, current_tenant())
                except ValueError:
                    sent = "an error"
        finally:
            await asyncio.sleep(0)
            seen.append(current_tenant())

    with tenant_scope("acme"):
        rows: Any = carry_scope(echo())
    assert await anext(rows) == (None, "acme")
    assert await rows.asend(1) == (1, "acme")
    assert await rows.athrow(ValueError("no")) == ("an error", "acme")
    await rows.aclose()
    assert seen == ["acme"]


class Countdown:
    """An iterator, and an asynchronous one, that is no generator and can be closed."""

    closed_in: str | None = None

    def __init__(self) -> None:
        self.left = 2

    def __iter__(self) -> Iterator[str | None]:
        return self

    def __next__(self) -> str | None:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return current_tenant()

    def close(self) -> None:
        self.closed_in = current_tenant()


class LaterCountdown:
    closed_in: str | None = None

    def __init__(self) -> None:
        self.countdown = Countdown()

    def __aiter__(self) -> AsyncIterator[str | None]:
        return self

    async def __anext__(self) -> str | None:
        for seen in self.countdown:
            return seen
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed_in = current_tenant()


async def test_iterators_that_are_no_generators_are_carried_too() -> None:
    source, later = Countdown(), LaterCountdown()
    with tenant_scope("acme"):
        rows: Any = carry_scope(iter(source))
        rows_later: Any = carry_scope(aiter(later))
        mapped = carry_scope(map(ask, range(2)))
    assert list(rows) == ["acme", "acme"] and list(mapped) == ["acme", "acme"]
    assert [seen async for seen in rows_later] == ["acme", "acme"]
    rows.close()
    await rows_later.aclose()
    assert (source.closed_in, later.closed_in) == ("acme", "acme")
    carry_scope(iter([])).close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("work", [[1], "text", None, 7], ids=repr)
def test_what_does_no_work_carries_no_scope(work: object) -> None:
    with pytest.raises(ConfigurationError, match=type(work).__name__):
        carry_scope(work)


async def test_a_scope_decorates_functions_of_every_kind() -> None:
    scope = tenant_scope("acme")

    class Service:
        @tenant_scope("acme")
        def ask(self) -> str | None:
            return current_tenant()

        @tenant_scope("acme")
        async def ask_later(self) -> str | None:
            return await ask_later()

    assert [scope(ask)(), Service().ask(), await Service().ask_later()] == ["acme"] * 3
    assert await scope(ask_later)() == "acme"
    assert list(scope(ask_twice)()) == ["acme", "acme"]
    assert [seen async for seen in scope(ask_twice_later)()] == ["acme", "acme"]
    assert inspect.iscoroutinefunction(Service.ask_later)
    assert scope(scope(ask))() == "acme"
    assert current_tenant() is None


def test_work_decorated_with_no_tenant_hides_the_outer_scope() -> None:
    with tenant_scope("acme"):
        assert tenant_scope(None)(ask)() is None


def test_carrying_out_of_a_scope_that_is_not_in_effect_is_refused() -> None:
    def elsewhere() -> None:
        scope = tenant_scope("acme")
        scope.__enter__()
        with pytest.raises(ConfigurationError):
            copy_context().run(scope.__exit__, None, None, None)
        with pytest.raises(ConfigurationError, match="left in another context"):
            carry_scope(ask)

    copy_context().run(elsewhere)
