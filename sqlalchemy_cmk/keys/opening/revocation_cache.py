"""A negative cache: a KEK that refused is not asked again at every use of its DEKs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from sqlalchemy_cmk.errors import KeyLocked, KeyRevoked

MAX_REFUSALS = 10_000


class RevocationCache:
    """Repeats a refusal for a while instead of asking again.

    Args:
        retry_after: seconds for which a KEK's refusal is repeated.
        lock_check: seconds for which it is repeated that a tenant is locked, if that is shorter.
        clock: returns monotonic seconds.
    """

    def __init__(self, retry_after: float, lock_check: float, clock: Callable[[], float]) -> None:
        self._retry_after = retry_after
        self._when_locked = min(retry_after, lock_check)
        self._clock = clock
        self._refused: dict[Hashable, tuple[float, str, str | None, type[KeyRevoked]]] = {}

    def refusal(self, question: Hashable) -> KeyRevoked | None:
        """Return the error with which a question was refused less than ``retry_after`` seconds ago."""
        refused = self._refused.get(question)
        if refused is None or self._clock() >= refused[0]:
            return None
        _, message, tenant, kind = refused
        return kind(message, tenant)

    def note(self, question: Hashable, error: BaseException | None) -> None:
        """Note how a question was answered that was asked just now; ``None`` if nothing failed."""
        if isinstance(error, KeyRevoked):
            if len(self._refused) >= MAX_REFUSALS:
                self._refused = {}
            seconds = self._when_locked if isinstance(error, KeyLocked) else self._retry_after
            self._refused[question] = (
                self._clock() + seconds,
                str(error),
                error.tenant,
                type(error),
            )
        elif error is None:
            self._refused.pop(question, None)

    def forget(self, tenant: str | None = None) -> None:
        """Forget the refusals of a tenant, or all of them."""
        if tenant is None:
            self._refused = {}
        else:
            self.forget_all((tenant,))

    def forget_all(self, tenants: Collection[str]) -> None:
        """Forget the refusals of these tenants."""
        named = frozenset(tenants)
        self._refused = {key: one for key, one in self._refused.items() if one[2] not in named}
