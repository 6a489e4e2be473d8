"""Work that needs calls of KEKs, written so that somebody else makes the calls: see :data:`Flow`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.runtime.pace import Pace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a provider that is still to be made.

    Attributes:
        place: what it may hang on, from :meth:`KeyProvider.place_of`.
        kek_uri: the KEK. Once that cannot be reached, a batch asks it nothing more.
        at_once: how many such calls a batch makes at once, from :meth:`KeyProvider.calls_at_once`.
        make: makes it.
        same: what the calls have in common whose answers are the same, so that one that is under way serves
            every flow of a batch; ``None`` if there are no such others.
    """

    place: str
    kek_uri: str
    at_once: int
    make: Callable[[], Any]
    same: Hashable = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is to be waited for, where somebody limits how much is done in a second.

    Attributes:
        pace: says when it has come.
    """

    pace: Pace


# Work that needs calls: it yields each, is sent what the call has returned, and returns its own result. Where
# it has to keep a pace, it yields a turn before each call that counts.
Flow = Generator[Call | Turn, Any, T]


def done(result: T) -> Future[T]:
    """Return a future that has a result."""
    future: Future[T] = Future()
    future.set_result(result)
    return future


def failed(error: BaseException) -> Future[Any]:
    """Return a future that has failed. An error of this library's own forgets where it was raised.

    The frames there hold those of the caller, who holds the future: with them the error, and whatever the
    caller has open, would stay in memory until cycles are collected.
    """
    future: Future[Any] = Future()
    future.set_exception(error)
    raised: BaseException | None = error
    while isinstance(raised, CmkError):
        raised.__traceback__ = None
        raised = raised.__cause__ or raised.__context__
    return future


def result_of(future: Future[T]) -> T | None:
    """Return the result of a future that is done; ``None`` if it has failed."""
    return future.result() if future.exception() is None else None
