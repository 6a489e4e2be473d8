"""A scope never goes on in the caller of a generator, and never gives the wrong tenant back."""

import asyncio
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from contextvars import copy_context
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from sqlalchemy.util import await_only, greenlet_spawn

from sqlalchemy_cmk import ConfigurationError, carry_scope, tenant_scope
from sqlalchemy_cmk.scope import agreed_tenant, current_tenant


@contextmanager
def as_tenant(name: str) -> Iterator[None]:
    with tenant_scope(name):
        yield


@asynccontextmanager
async def as_tenant_later(name: str) -> AsyncIterator[None]:
    with tenant_scope(name):
        await asyncio.sleep(0)
        yield


class Acting:
    """A context manager of an application's own."""

    def __init__(self, name: str) -> None:
        self.scope = tenant_scope(name)

    def __enter__(self) -> None:
        self.scope.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.scope.__exit__(*error)


def with_block() -> Iterator[str | None]:
    with tenant_scope("acme"):
        yield current_tenant()


def with_exit_stack() -> Iterator[str | None]:
    with ExitStack() as stack:
        stack.enter_context(tenant_scope("acme"))
        yield current_tenant()


def with_context_manager() -> Iterator[str | None]:
    with as_tenant("acme"):
        yield current_tenant()


def with_own_manager() -> Iterator[str | None]:
    with Acting("acme"):
        yield current_tenant()


def with_manager_in_an_exit_stack() -> Iterator[str | None]:
    with ExitStack() as stack:
        stack.enter_context(as_tenant("acme"))
        yield current_tenant()


def by_hand() -> Iterator[str | None]:
    scope = tenant_scope("acme")
    scope.__enter__()
    yield current_tenant()
    scope.__exit__(None, None, None)


def by_another_generator() -> Iterator[str | None]:
    yield from with_block()


GENERATORS = [
    with_block,
    with_exit_stack,
    with_context_manager,
    with_own_manager,
    with_manager_in_an_exit_stack,
    by_hand,
    by_another_generator,
]


@pytest.mark.parametrize("rows", GENERATORS)
@pytest.mark.parametrize("ask", [next, list], ids=["next", "list"])
def test_a_generator_is_refused_a_scope_around_its_yield(
    rows: Callable[[], Iterator[str | None]], ask: Callable[[Any], Any]
) -> None:
    with tenant_scope("globex"):
        with pytest.raises(ConfigurationError, match="would go on in its caller"):
            ask(rows())
        assert current_tenant() == "globex"
    assert current_tenant() is None


def test_the_refusal_names_the_generator_and_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"with_block.*@tenant_scope.*carry_scope.*@contextmanager"):
        next(with_block())


async def with_block_in_async() -> AsyncIterator[str | None]:
    with tenant_scope("acme"):
        yield current_tenant()


async def with_async_exit_stack() -> AsyncIterator[str | None]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(as_tenant_later("acme"))
        yield current_tenant()


async def with_async_manager() -> AsyncIterator[str | None]:
    async with as_tenant_later("acme"):
        yield current_tenant()


@pytest.mark.parametrize("rows", [with_block_in_async, with_async_exit_stack, with_async_manager])
async def test_an_asynchronous_generator_is_refused_a_scope_around_its_yield(
    rows: Callable[[], AsyncIterator[str | None]],
) -> None:
    with tenant_scope("globex"):
        with pytest.raises(ConfigurationError, match="would go on in its caller"):
            await anext(rows())
        assert current_tenant() == "globex"


def enter_for(stack: ExitStack, name: str) -> None:
    stack.enter_context(tenant_scope(name))


def with_a_helper() -> Iterator[str | None]:
    with ExitStack() as stack:
        enter_for(stack, "acme")
        yield current_tenant()


def test_a_scope_that_a_generators_helper_keeps_open_is_not_used_between_its_steps() -> None:
    with tenant_scope("globex"):
        rows = with_a_helper()
        assert next(rows) == "acme"
        with pytest.raises(ConfigurationError, match=r"entered in the generator with_a_helper.*carry_scope"):
            current_tenant()
        with pytest.raises(ConfigurationError):
            agreed_tenant("acme", "patients.ssn")
        assert list(rows) == []
        assert current_tenant() == "globex"


def test_generators_that_take_turns_never_run_in_each_others_scope() -> None:
    first, second = with_a_helper(), with_a_helper()
    next(first), next(second)
    with pytest.raises(ConfigurationError, match="reverse order"):
        next(first)
    with pytest.raises(ConfigurationError):
        current_tenant()
    assert list(second) == []
    assert current_tenant() is None


def test_a_function_that_a_generator_calls_has_scopes_of_every_kind() -> None:
    def work() -> list[str | None]:
        names = []
        with tenant_scope("a"):
            names.append(current_tenant())
        with ExitStack() as stack:
            stack.enter_context(tenant_scope("b"))
            names.append(current_tenant())
        with Acting("c"), as_tenant("d"):
            names.append(current_tenant())
        return names

    def rows() -> Iterator[list[str | None]]:
        yield work()
        yield work()

    assert list(rows()) == [["a", "b", "d"]] * 2


def test_context_managers_made_of_generators_name_the_tenant_of_their_block() -> None:
    @contextmanager
    def delegating() -> Iterator[None]:
        yield from with_exit_stack()

    @contextmanager
    def helped() -> Iterator[None]:
        with ExitStack() as stack:
            enter_for(stack, "acme")
            yield

    for manager in (lambda: as_tenant("acme"), delegating, helped, lambda: Acting("acme")):
        with manager():
            assert current_tenant() == "acme"
        assert current_tenant() is None


def test_a_context_manager_may_enter_another_scope_as_it_ends() -> None:
    seen: list[str | None] = []

    @contextmanager
    def tidying() -> Iterator[None]:
        try:
            yield
        finally:
            with tenant_scope("globex"):
                seen.append(current_tenant())

    with as_tenant("acme"), tidying():
        pass
    assert seen == ["globex"] and current_tenant() is None


async def test_asynchronous_context_managers_name_the_tenant_of_their_block() -> None:
    async with as_tenant_later("acme"):
        assert current_tenant() == "acme"
        await asyncio.sleep(0)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(as_tenant_later("globex"))
            assert await asyncio.create_task(asyncio.to_thread(current_tenant)) == "globex"
        assert current_tenant() == "acme"
    assert current_tenant() is None


@pytest.fixture
def in_acme() -> Iterator[None]:
    with tenant_scope("acme"):
        yield


@pytest.fixture
def in_acme_by_a_helper() -> Iterator[None]:
    with ExitStack() as stack:
        enter_for(stack, "acme")
        yield


@pytest.mark.usefixtures("in_acme")
def test_a_fixture_names_the_tenant_of_a_test() -> None:
    assert current_tenant() == "acme"


@pytest.mark.usefixtures("in_acme_by_a_helper")
def test_a_fixture_with_a_helper_does_too() -> None:
    assert current_tenant() == "acme"


def test_a_coroutine_made_of_a_generator_is_a_coroutine() -> None:
    @types.coroutine
    def wait() -> Generator[None, None, str | None]:
        with tenant_scope("acme"):
            yield
            return current_tenant()

    async def work() -> str | None:
        return await wait()

    assert asyncio.run(work()) == "acme"


async def test_a_scope_holds_on_both_sides_of_sqlalchemys_bridge() -> None:
    async def ask() -> str | None:
        await asyncio.sleep(0)
        return current_tenant()

    def below() -> list[str | None]:
        with tenant_scope("acme"):
            inner = await_only(ask())
            with as_tenant("inner"):
                return [inner, await_only(ask()), current_tenant()]

    with tenant_scope("globex"):
        assert await greenlet_spawn(below) == ["acme", "inner", "inner"]
        assert current_tenant() == "globex"


async def test_tasks_that_take_turns_on_the_bridge_keep_their_own_scopes() -> None:
    everyone_is_inside = asyncio.Barrier(3)

    def below(name: str) -> str | None:
        with tenant_scope(name):
            await_only(everyone_is_inside.wait())
            return current_tenant()

    names = ["a", "b", "c"]
    assert await asyncio.gather(*(greenlet_spawn(below, name) for name in names)) == names


def test_greenlets_that_take_turns_keep_their_own_scopes() -> None:
    def below(name: str) -> str | None:
        with tenant_scope(name):
            main.switch(current_tenant())
            return current_tenant()

    main = getcurrent()
    with tenant_scope("outer"):
        first, second = greenlet(below), greenlet(below)
        assert [first.switch("a"), second.switch("b"), current_tenant()] == ["a", "b", "outer"]
        assert [first.switch(), second.switch(), current_tenant()] == ["a", "b", "outer"]
        assert greenlet(current_tenant).switch() is None
        assert greenlet(carry_scope(current_tenant)).switch() == "outer"


def test_a_scope_left_before_an_inner_one_raises_and_its_tenant_never_comes_back() -> None:
    outer, inner = tenant_scope("outer"), tenant_scope("inner")
    with tenant_scope("outermost"):
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(ConfigurationError, match=r"'outer'.* is left, but another one, .*'inner'"):
            outer.__exit__(None, None, None)
        assert current_tenant() == "inner"
        inner.__exit__(None, None, None)
        assert current_tenant() == "outermost"
    assert current_tenant() is None


@pytest.mark.parametrize("how", ["in a copy made outside", "in a copy made inside"])
def test_a_scope_left_in_another_context_raises_and_is_not_used_any_more(how: str) -> None:
    def elsewhere() -> None:
        before, scope = copy_context(), tenant_scope("acme")
        scope.__enter__()
        inside = copy_context()
        other = before if how == "in a copy made outside" else inside
        with pytest.raises(ConfigurationError, match=r"'acme'.*carry_scope"):
            other.run(scope.__exit__, None, None, None)
        assert before.run(current_tenant) is None
        for context in (copy_context(), inside):
            with pytest.raises(ConfigurationError, match="left in another context"):
                context.run(current_tenant)
        with tenant_scope("globex"):
            assert current_tenant() == "globex"

    copy_context().run(elsewhere)


def test_a_scope_is_entered_once_at_a_time_and_left_once() -> None:
    scope = tenant_scope("acme")
    with pytest.raises(ConfigurationError, match="was not entered"):
        scope.__exit__(None, None, None)
    for _ in range(2):
        with scope:
            with pytest.raises(ConfigurationError, match="entered already"):
                scope.__enter__()
            assert current_tenant() == "acme"
        assert current_tenant() is None


def test_an_error_that_leaves_the_block_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError), tenant_scope("acme"):
        raise ZeroDivisionError


async def test_a_coroutine_that_is_cancelled_leaves_its_scope() -> None:
    is_inside = asyncio.Event()

    async def work() -> None:
        try:
            with tenant_scope("acme"):
                is_inside.set()
                await asyncio.Event().wait()
        finally:
            left.append(current_tenant())

    left: list[str | None] = []
    task: Awaitable[None] = asyncio.create_task(work())
    await is_inside.wait()
    task.cancel()  # type: ignore[attr-defined]
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [None]
