"""``with tenant_scope("acme"):`` for a block, ``@tenant_scope("acme")`` for a function."""

from __future__ import annotations

from collections.abc import Callable
from inspect import currentframe
from types import TracebackType
from typing import TypeVar, cast

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.scope.carrying import carry
from sqlalchemy_cmk.scope.entered import Entered, enter, leave
from sqlalchemy_cmk.scope.generators import generator_to_watch
from sqlalchemy_cmk.scope.names import tenant_name

Work = TypeVar("Work", bound=Callable[..., object])


class tenant_scope:
    """Name the tenant of every statement in the block that has no row to tell it.

    Inside the block nothing of another tenant is sealed or opened. The scope is kept in a context variable:
    it follows ``await`` and new tasks, and is not seen by other threads; :func:`carry_scope` takes it there.
    It decorates functions too, also coroutine and generator functions: each call or step runs in the scope.

    Args:
        tenant: the tenant's name, as its rows carry it; ``None`` leaves an outer scope for the block.

    Raises:
        TenantRequired: the name is an empty string, or longer than 190 characters.
        ConfigurationError: a generator enters the scope and would leak it to its caller; the scope is entered
            twice at once; it is left before an inner one, or in another thread, task or context.
    """

    __slots__ = ("_entered", "_tenant")

    def __init__(self, tenant: object) -> None:
        self._tenant = None if tenant is None else tenant_name(tenant)
        self._entered: Entered | None = None

    def __enter__(self) -> None:
        if self._entered is not None:
            raise ConfigurationError(
                f"this tenant_scope({self._tenant!r}) is entered already: make another for each block"
            )
        here = currentframe()
        caller = None if here is None else here.f_back
        generator = None if caller is None else generator_to_watch(caller, self._tenant)
        self._entered = enter(self._tenant, generator)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered, self._entered = self._entered, None
        if entered is None:
            raise ConfigurationError(f"tenant_scope({self._tenant!r}) is left, but was not entered")
        leave(entered)

    def __call__(self, work: Work) -> Work:
        """Return a function whose calls, and the steps of what they return, run in the scope."""
        return cast(Work, carry(work, self._tenant))

    def __repr__(self) -> str:
        return f"tenant_scope({self._tenant!r})"
