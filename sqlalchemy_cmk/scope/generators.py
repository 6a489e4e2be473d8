"""Finds the generator that would keep a scope open in a caller that asks it for its next item.

A context variable belongs to the thread or task, not to the generator: what a generator sets before a
``yield`` is set for its caller. A generator that a context manager or a fixture is made of means just that.
"""

from __future__ import annotations

from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR, CO_ITERABLE_COROUTINE
from types import FrameType

from sqlalchemy_cmk.errors import ConfigurationError

_GENERATOR = CO_GENERATOR | CO_ASYNC_GENERATOR
# Functions that act for a with statement further up, wherever they are defined.
_MANAGERS = frozenset(
    {"__enter__", "__aenter__", "__exit__", "__aexit__", "enter_context", "enter_async_context"}
)
# Modules that run a generator to its yield, then what needs it, then the rest.
_FIXTURES = ("_pytest.fixtures", "pytest_asyncio")


def generator_to_watch(frame: FrameType, tenant: str | None) -> FrameType | None:
    """Return the generator that has to be running where a scope is used; ``None`` for most scopes.

    A ``with`` statement in a function or a coroutine costs one look. A scope that a function enters for its
    caller, by an ``ExitStack`` or an ``__enter__`` of its own, may outlive the step of a generator above it.
    An asynchronous one is not watched: the tasks that it starts run while it waits, and rightly so.

    Args:
        frame: where the scope is entered.
        tenant: the scope's tenant, for the message.

    Raises:
        ConfigurationError: a generator enters it, and would leave it open at its ``yield``.
    """
    code = frame.f_code
    if not code.co_flags & _GENERATOR and code.co_name not in _MANAGERS:
        return None
    generator: FrameType | None = None
    is_in_function = False
    above: FrameType | None = frame
    while above is not None:
        if _is_generator(above):
            generator = generator or above
        elif _is_manager(above):
            generator = None
        elif generator is not None:
            break
        else:
            is_in_function = True
        above = above.f_back
    if generator is not None and not is_in_function:
        raise ConfigurationError(
            f"tenant_scope({tenant!r}) in the generator {generator.f_code.co_qualname} would go on in its "
            "caller at each yield: leave the scope to a function that the generator calls, decorate the "
            "generator function with @tenant_scope(...), iterate carry_scope(generator) made inside a scope, "
            "or make it a @contextmanager"
        )
    return generator if generator is not None and generator.f_code.co_flags & CO_GENERATOR else None


def _is_generator(frame: FrameType) -> bool:
    flags = frame.f_code.co_flags
    return bool(flags & _GENERATOR) and not flags & CO_ITERABLE_COROUTINE


def _is_manager(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return frame.f_code.co_name in _MANAGERS or str(module).startswith(_FIXTURES)
