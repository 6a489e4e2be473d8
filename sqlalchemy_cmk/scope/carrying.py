"""Takes a scope to where context variables do not go by themselves: threads, executors, generators."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial, update_wrapper
from inspect import iscoroutinefunction
from types import AsyncGeneratorType, CoroutineType, GeneratorType, MethodType
from typing import Any, TypeVar, cast

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.scope.entered import current_tenant, enter, leave

Work = TypeVar("Work")


def carry_scope(work: Work) -> Work:
    """Return the same work, to be run elsewhere in the scope that is current now.

    Use it for what another thread, an executor or a framework runs later: ``pool.submit(carry_scope(job))``.

    Args:
        work: a function, a coroutine function or a coroutine; or a generator or another iterator, also an
            asynchronous one, of which each step then runs in the scope, and nothing between them does. Where
            no scope is entered, the work runs in none.

    Raises:
        ConfigurationError: it is none of these.
    """
    return cast(Work, carry(work, current_tenant()))


def carry(work: Any, tenant: str | None) -> Any:
    """Return work that runs in the scope of a tenant; see :func:`carry_scope`."""
    started = _carry_started(work, tenant)
    if started is not None:
        return started
    if callable(work):
        is_async = iscoroutinefunction(work) or iscoroutinefunction(getattr(work, "__call__", None))  # noqa: B004
        return update_wrapper(CarriedFunction(_call_async if is_async else _call, tenant, work), work)
    if isinstance(work, Iterator):
        return ScopedIterator(work, tenant)
    if isinstance(work, AsyncIterator):
        return ScopedAsyncIterator(work, tenant)
    raise ConfigurationError(
        f"a scope is carried by a function, a coroutine, a generator or another iterator, not by "
        f"{type(work).__name__}"
    )


def _carry_started(work: object, tenant: str | None) -> Any:
    """Return a generator or coroutine whose steps run in the scope, or ``None`` for anything else."""
    if isinstance(work, GeneratorType):
        return ScopedGenerator(work, tenant)
    if isinstance(work, AsyncGeneratorType):
        return ScopedAsyncGenerator(work, tenant)
    if isinstance(work, CoroutineType):
        return _await(tenant, work)
    return None


class CarriedFunction(partial[Any]):
    """A function with its scope; it can be pickled if the function can, and serves as a method."""

    __slots__ = ()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)


def _call(tenant: str | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    entered = enter(tenant)
    try:
        result = function(*args, **kwargs)
    finally:
        leave(entered)
    started = _carry_started(result, tenant)
    return result if started is None else started


async def _call_async(tenant: str | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    entered = enter(tenant)
    try:
        return await function(*args, **kwargs)
    finally:
        leave(entered)


async def _await(tenant: str | None, work: Coroutine[Any, Any, Any]) -> Any:
    entered = enter(tenant)
    try:
        return await work
    finally:
        leave(entered)


class ScopedIterator(Iterator[Any]):
    """An iterator each of whose steps runs in a scope."""

    def __init__(self, source: Iterator[Any], tenant: str | None) -> None:
        self._source = source
        self._tenant = tenant

    def __next__(self) -> Any:
        return _call(self._tenant, self._source.__next__)

    def close(self) -> None:
        """Close the iterator, if it can be closed, as WSGI servers do."""
        close = getattr(self._source, "close", None)
        if close is not None:
            _call(self._tenant, close)


class ScopedGenerator(Generator[Any, Any, Any]):
    """A generator each of whose steps runs in a scope."""

    def __init__(self, source: Generator[Any, Any, Any], tenant: str | None) -> None:
        self._source = source
        self._tenant = tenant

    def send(self, value: Any) -> Any:
        """Resume the generator with a value."""
        return _call(self._tenant, self._source.send, value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where the generator waits."""
        return _call(self._tenant, self._source.throw, *error)

    def close(self) -> None:
        """Raise ``GeneratorExit`` where the generator waits."""
        _call(self._tenant, self._source.close)


class ScopedAsyncIterator(AsyncIterator[Any]):
    """An asynchronous iterator each of whose steps runs in a scope."""

    def __init__(self, source: AsyncIterator[Any], tenant: str | None) -> None:
        self._source = source
        self._tenant = tenant

    async def __anext__(self) -> Any:
        return await _call_async(self._tenant, self._source.__anext__)

    async def aclose(self) -> None:
        """Close the iterator, if it can be closed."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await _call_async(self._tenant, close)


class ScopedAsyncGenerator(AsyncGenerator[Any, Any]):
    """An asynchronous generator each of whose steps runs in a scope."""

    def __init__(self, source: AsyncGenerator[Any, Any], tenant: str | None) -> None:
        self._source = source
        self._tenant = tenant

    async def asend(self, value: Any) -> Any:
        """Resume the generator with a value."""
        return await _call_async(self._tenant, self._source.asend, value)

    async def athrow(self, *error: Any) -> Any:
        """Raise an error where the generator waits."""
        return await _call_async(self._tenant, self._source.athrow, *error)

    async def aclose(self) -> None:
        """Raise ``GeneratorExit`` where the generator waits."""
        await _call_async(self._tenant, self._source.aclose)
