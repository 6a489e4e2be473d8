"""What an application has told its keyring, checked: the same for every engine that the keyring serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.events.subscribers import Subscribers
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeySource
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.ownership import TenantTag
from sqlalchemy_cmk.keys.policy import PolicyCheck
from sqlalchemy_cmk.providers.base import KeyProvider


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of :class:`~sqlalchemy_cmk.Keyring`, which describes them.

    ``calls`` makes the calls of its providers, whose limits hold for all engines together.
    """

    platform_key: str
    providers: tuple[KeyProvider, ...]
    cache: CachePolicy
    max_open_keys: int
    record_key: RecordKeySource | None
    policy: PolicyCheck
    reads_without_tenant: bool
    actor: str | Callable[[], str] | None
    table_prefix: str
    record_exceptions: bool
    clock: Callable[[], float]
    reason_for: frozenset[EventKind]
    two_people: frozenset[EventKind]
    request_expiry: float
    tenant_tag: TenantTag
    calls: ProviderCalls
    subscribers: Subscribers

    def close(self) -> None:
        """Close the providers, and let callbacks end."""
        self.subscribers.listeners.close()
        self.calls.close()
        for provider in self.providers:
            provider.close()
