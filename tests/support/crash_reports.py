"""What a crash reporter sends of an error, and errors at every place where a piece of work may fail."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import CO_GENERATOR
from types import CodeType, FrameType, TracebackType
from typing import Any

from sqlalchemy_cmk import KeyUnavailable

# Secret itself: nothing that may fail stands between its argument and its attribute. A call that others wait
# for has to end.
_UNOBSERVED = ("/runtime/secret.py", "/single_flight.py")
_TESTS = "/tests/"
# Not the key tables: an error between a lock and its release leaves an SQLite file locked.
_WITH_KEYS = tuple(
    f"/sqlalchemy_cmk/{one}"
    for one in ("keys/lifecycle/", "keys/opening/", "keys/manifest/", "providers/", "format.py", "ciphers.py")
)
_CLEANING = frozenset({"__exit__", "acquire", "release", "notify_all", "set", "close", "flock", "lockf"})

Place = tuple[CodeType, int, str, str]


def crash_report(error: BaseException) -> str:
    """The error's text, and the locals of every frame of it and of the errors that it comes from.

    A reporter takes the ``repr`` of an object, decodes bytes and looks into containers. The frames of tests
    are left out: they hold the secrets that are looked for.
    """
    said: list[str] = []
    for one in chain(error):
        said += [str(one), repr(one), repr(one.args), *getattr(one, "__notes__", [])]
        for frame in _frames(one.__traceback__):
            if _TESTS not in frame.f_code.co_filename:
                for value in frame.f_locals.values():
                    said += _told(value, 4)
    return "\n".join(said)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it comes from."""
    seen: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen[id(one)] = one
            waiting += [one.__cause__, one.__context__, getattr(one, "orig", None)]
    return iter(seen.values())


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _told(value: Any, depth: int) -> Iterator[str]:
    yield _repr(value)
    if isinstance(value, bytes | bytearray | memoryview):
        yield bytes(value).decode("latin-1")
    elif isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for pair in list(value.items()):
            yield from _told(pair, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for one in list(value):
            yield from _told(one, depth - 1)
    elif depth and hasattr(value, "__dict__") and type(value).__module__.startswith("sqlalchemy_cmk"):
        # More than reporters do: what an object of ours keeps in the open is a mistake that waits.
        yield from _told(vars(value), depth - 1)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # what crash reporters do
        return f"no repr: {type(error).__name__}"


class Failures:
    """Makes work fail once at each place where code that handles keys calls a function, or one begins.

    Args:
        modules: parts of file names; the frames of other files are let alone.
        error: makes the error.
    """

    def __init__(
        self, modules: Iterable[str] = _WITH_KEYS, error: Callable[[str], Exception] = KeyUnavailable
    ) -> None:
        self._error = error
        self._modules = tuple(modules)
        self._visited: set[Place] = set()
        self._raised: Place | None = None

    def each(self, work: Callable[[], object]) -> Iterator[tuple[str, BaseException]]:
        """Run the work until it fails nowhere new; yield the place and the error of each failure."""
        while True:
            self._raised = None
            sys.setprofile(self._profile)
            try:
                work()
            except BaseException as error:
                failure: BaseException | None = error
            else:
                failure = None
            finally:
                sys.setprofile(None)
            if self._raised is None:
                if failure is not None:
                    raise failure
                return
            if failure is not None:
                code, line, _, callee = self._raised
                yield f"{code.co_qualname}:{line} ({callee})", failure

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event not in ("call", "c_call") or self._raised is not None:
            return
        if not any(part in code.co_filename for part in self._modules) or _TESTS in code.co_filename:
            return
        if any(part in code.co_filename for part in _UNOBSERVED):
            return
        callee = getattr(argument, "__qualname__", "its beginning")
        # Where a lock is released or a generator goes on to its end, an error would leave the lock taken.
        if (
            code.co_flags & CO_GENERATOR
            or code.co_name in _CLEANING
            or callee.rpartition(".")[2] in _CLEANING
        ):
            return
        place = code, frame.f_lineno, event, callee
        if place not in self._visited:
            self._visited.add(place)
            self._raised = place
            raise self._error("injected by the test")
