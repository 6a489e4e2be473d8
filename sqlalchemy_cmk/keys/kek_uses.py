"""Which KEK versions wrap whose DEKs, and whether each of them still unwraps.

That a KEK wraps and unwraps says nothing about its older versions: one may be deleted or disabled while DEKs
are wrapped by it. So one stored wrapping of each version is unwrapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy_cmk.errors import CmkError, KeyRevoked
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys
from sqlalchemy_cmk.providers.base import Wrapped


@dataclass(frozen=True, slots=True)
class KekUse:
    """A KEK version that wraps DEKs of a tenant.

    Attributes:
        tenant: the tenant whose DEKs it wraps.
        kek_uri: the KEK.
        version: the version that wraps them.
        newest: the KEK's newest version; ``None`` if its provider cannot tell, now or ever, or was not asked.
        failure: why the version does not unwrap what it has wrapped; ``None`` if it does.
    """

    tenant: str
    kek_uri: str
    version: str
    newest: str | None
    failure: CmkError | None = None

    @property
    def stale(self) -> bool:
        """Whether a rewrap would move the DEKs to a newer version."""
        return self.newest is not None and self.newest != self.version


@dataclass(frozen=True, slots=True)
class _Stored:
    """A wrapping as it is stored."""

    keys: TenantKeys
    dek: DekRecord
    wrapped: Wrapped


class KekQuestions:
    """Asks each KEK version once, however many tenants' DEKs it wraps, and notes its answer for each of them.

    Tenants are given page by page, so that no more than a page of their keys is in memory.

    Args:
        wrapper: calls the providers.
        observations: notes their answers, as after any other use of a KEK.
        newest: whether each KEK is asked for its newest version too.
    """

    def __init__(self, wrapper: Wrapper, observations: Observations, *, newest: bool) -> None:
        self._wrapper = wrapper
        self._observations = observations
        self._asks_newest = newest
        self._failures: dict[tuple[str, str], CmkError | None] = {}
        self._newest: dict[str, str | None] = {}

    def uses(self, page: Iterable[TenantKeys]) -> list[KekUse]:
        """Return which KEK versions wrap tenants' living DEKs, in the order of tenants and KEKs.

        Each version that was not asked before unwraps one stored wrapping. No KEK is asked for a tenant that
        is locked.

        Args:
            page: the tenants' keys.
        """
        stored: dict[tuple[str, str], list[_Stored]] = {}
        for keys in page:
            for dek in () if keys.tenant.state is TenantState.LOCKED else keys.living:
                for wrapped in dek.wrappings:
                    kek = wrapped.kek_uri, wrapped.kek_version
                    stored.setdefault(kek, []).append(_Stored(keys, dek, wrapped))
        unwraps = {
            kek: self._wrapper.unwrapping_by(those[0].dek, those[0].wrapped, "status", kek[0].encode())
            for kek, those in stored.items()
            if kek not in self._failures
        }
        for kek, unwrapped in self._wrapper.calls.results(unwraps).items():
            self._failures[kek] = _error_of(unwrapped)
        _note(self._observations, ((one, self._failures[kek]) for kek in stored for one in stored[kek]))
        if self._asks_newest:
            uris = {kek_uri for kek_uri, _ in stored} - self._newest.keys()
            lookups = {kek_uri: self._wrapper.looking_up(kek_uri) for kek_uri in sorted(uris)}
            for kek_uri, found_newest in self._wrapper.calls.results(lookups).items():
                self._newest[kek_uri] = None if _error_of(found_newest) else found_newest.result()
        found = {(one.keys.tenant.name, *kek) for kek, wrappings in stored.items() for one in wrappings}
        return [
            KekUse(tenant, kek_uri, version, self._newest.get(kek_uri), self._failures[kek_uri, version])
            for tenant, kek_uri, version in sorted(found)
        ]


def _error_of(answer: Future[Any]) -> CmkError | None:
    """Return how asking a KEK has failed; ``None`` if it has not."""
    error = answer.exception()
    if error is None or isinstance(error, CmkError):
        return error
    raise error


def _note(observations: Observations, answers: Iterable[tuple[_Stored, CmkError | None]]) -> None:
    """Note for each tenant that a KEK has opened a DEK; only where none has, that one refuses."""
    opened: dict[str, _Stored] = {}
    refused: dict[str, tuple[_Stored, str]] = {}
    for one, failure in answers:
        tenant = one.keys.tenant.name
        if failure is None:
            opened.setdefault(tenant, one)
        elif isinstance(failure, KeyRevoked) and len(one.dek.wrappings) == 1:
            refused.setdefault(tenant, (one, str(failure)))
    for one in opened.values():
        observations.opened(one.keys, one.wrapped)
    for tenant, (one, reason) in refused.items():
        if tenant not in opened:
            observations.refused(one.keys, one.wrapped, reason)
