"""Changes of many tenants' keys: planned side by side, committed together. See :class:`ManyChanges`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future

from sqlalchemy_cmk.errors import CmkError, KeyRevoked
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.flows import Flow
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys, changed_meanwhile
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.parts import in_parts

ATTEMPTS = 10
# Tenants whose keys are read at once, and those whose changes are committed in one transaction.
READ_TOGETHER, COMMITTED_TOGETHER = 500, 100

# Given a tenant's keys as they are stored, plans the change; ``None`` if nothing is to be done.
Planning = Callable[[TenantKeys], Flow[KeyChange | None]]
# Is given each tenant with why its keys could not be changed; ``None`` if they were, or are as wanted.
Landed = Callable[[str, CmkError | None], None]


class ManyChanges:
    """Plans and commits changes of many tenants' keys. One tenant's failure is its own.

    What is planned is committed while KEKs are still asked for others, in one transaction for many tenants.
    The epoch guards each: where another process has changed a tenant's keys first, its change is planned
    again.

    Args:
        store: reads and writes the key tables.
        calls: makes the calls of providers.
        forget: drops tenants' opened DEKs from this process.
    """

    def __init__(
        self, store: KeyStore, calls: ProviderCalls, forget: Callable[[Collection[str]], None]
    ) -> None:
        self._store = store
        self._calls = calls
        self._forget = forget

    def make(
        self, names: Iterable[str], planning: Planning, landed: Landed, *, first_kek: str | None = None
    ) -> None:
        """Change tenants' keys.

        Args:
            names: the tenants' names; one that is named twice is changed once.
            planning: plans a tenant's change.
            landed: is given each tenant as soon as its change is committed or has failed.
            first_kek: the KEK of tenants that have no keys yet; ``None`` if they have to have some.
        """
        left = dict.fromkeys(names)

        def land(name: str, error: CmkError | None) -> None:
            del left[name]
            landed(name, error)

        for _ in range(ATTEMPTS):
            if left:
                _Round(self._store, self._forget, land).make(self._calls, list(left), planning, first_kek)
        for name in list(left):
            land(name, changed_meanwhile(name))

    def make_one(self, name: str, planning: Planning, *, first_kek: str | None = None) -> None:
        """Change one tenant's keys as :meth:`make` does, and raise why they could not be changed."""
        found: dict[str, CmkError | None] = {}
        self.make([name], planning, found.__setitem__, first_kek=first_kek)
        error = found.pop(name)
        try:
            if error is not None:
                raise error
        finally:
            del error  # an error's traceback holds this frame, which must not hold the error


class _Round:
    """One attempt to change tenants' keys. Those that another process changes meanwhile are not landed."""

    def __init__(self, store: KeyStore, forget: Callable[[Collection[str]], None], land: Landed) -> None:
        self._store = store
        self._forget = forget
        self._land = land
        self._keys: dict[str, TenantKeys] = {}
        self._planned: dict[str, KeyChange] = {}

    def make(
        self, calls: ProviderCalls, names: Iterable[str], planning: Planning, first_kek: str | None
    ) -> None:
        calls.follow_all(self._flows(names, planning, first_kek), self._have_planned, self._commit)
        self._commit()

    def _flows(
        self, names: Iterable[str], planning: Planning, first_kek: str | None
    ) -> Iterator[tuple[str, Flow[KeyChange | None]]]:
        for part in in_parts(names, READ_TOGETHER):
            for name, keys in self._read(part, first_kek).items():
                if isinstance(keys, CmkError):
                    self._land(name, keys)
                else:
                    self._keys[name] = keys
                    yield name, planning(keys)

    def _read(self, names: list[str], first_kek: str | None) -> dict[str, TenantKeys | CmkError]:
        try:
            stored = self._store.keys_of_all(names)
            unknown = [one for one in names if stored[one] is None]
            new = self._store.new_tenants(unknown, first_kek) if unknown and first_kek is not None else {}
        except CmkError as error:
            # Its frames would hold those of the caller, who holds it.
            return dict.fromkeys(names, error.with_traceback(None))
        found: dict[str, TenantKeys | CmkError] = {}
        for name in names:
            keys = stored[name] or new.get(name)
            if keys is None:
                keys = unknown_tenant(self._store, name)
            elif isinstance(keys, TenantKeys) and keys.tenant.state is TenantState.SHREDDED:
                keys = KeyRevoked(f"tenant {name!r} was shredded: its keys are destroyed", name)
            found[name] = keys
        return found

    def _have_planned(self, name: str, result: Future[KeyChange | None]) -> None:
        error = result.exception()
        try:
            if isinstance(error, CmkError):
                self._fail(name, error)
            elif error is not None:
                raise error
            elif (change := result.result()) is None:
                self._end([name])
            else:
                self._planned[name] = change
        finally:
            del error  # an error's traceback holds this frame, which must not hold the error
        if len(self._planned) >= COMMITTED_TOGETHER:
            self._commit()

    def _commit(self) -> None:
        planned, self._planned = self._planned, {}
        if not planned:
            return
        try:
            committed = self._store.apply_all([(self._keys[name], one) for name, one in planned.items()])
        except CmkError as error:
            for name in planned:
                self._fail(name, error)
            return
        self._end(committed)

    def _fail(self, name: str, error: CmkError) -> None:
        del self._keys[name]
        self._land(name, error)

    def _end(self, names: Collection[str]) -> None:
        """Land tenants whose keys are as they are wanted."""
        self._forget(names)
        for name in names:
            del self._keys[name]
            self._land(name, None)
