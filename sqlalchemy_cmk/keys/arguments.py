"""The arguments of a keyring, checked: a mistake is named where it is made, and not at the first use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import cast

from sqlalchemy import Connection, MetaData

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.runtime.clock import duration
from sqlalchemy_cmk.runtime.kinds import NUMBER, Kind, described, named, several
from sqlalchemy_cmk.scope import key_owner

TENANTS = several("a list of tenants' names, such as ['acme']")
PURPOSES = several("a list of purposes, such as ['randomized', 'deterministic']")
METADATA = Kind((MetaData,), "a MetaData, which metadata.reflect(engine) has filled")
CONNECTION = Kind((Connection,), "a Connection, such as engine.connect() gives")


def metadata_of(base: object, name: str = "base") -> MetaData:
    """Return the metadata of a declarative base, or the metadata itself.

    Raises:
        ConfigurationError: it is neither.
    """
    found = getattr(base, "metadata", base)
    Kind((MetaData,), "a declarative base or its MetaData").require(name, found)
    return cast(MetaData, found)


def check_engine(engine: object) -> None:
    """Refuse what is not an engine.

    Raises:
        ConfigurationError: it is none.
    """
    if not hasattr(engine, "dialect") or not hasattr(engine, "dispose"):
        raise ConfigurationError(
            f"Keyring takes an Engine or AsyncEngine, not {described(engine)}: give it create_engine(...)"
        )


def check_arguments(platform_key: object, providers: object) -> None:
    """Refuse arguments of the wrong kind.

    Raises:
        ConfigurationError: one is.
    """
    if not isinstance(platform_key, str):
        raise ConfigurationError(
            f"platform_key is the URI of a KEK, such as local:pmk, not {type(platform_key).__name__}"
        )
    if not isinstance(providers, Sequence) or not all(isinstance(one, KeyProvider) for one in providers):
        raise ConfigurationError(
            "providers is a list of key providers: give providers=[LocalKeyProvider(...)]"
        )


def names_of(tenants: Iterable[object]) -> tuple[str, ...]:
    """Return the names of tenants.

    Raises:
        ConfigurationError: it is one name and no list of them, or names no tenant.
    """
    if isinstance(tenants, str):
        raise ConfigurationError(f"a list of tenants is needed, and this is one: give it [{tenants!r}]")
    TENANTS.require("tenants", tenants)
    return tuple(map(key_owner, tenants))


def cache_policy(
    revalidate_after: float | timedelta,
    outage_grace: float | timedelta,
    retry_after: float | timedelta,
    jitter: float,
    refresh_ahead: bool,
    lock_check: float | timedelta,
    lock_grace: float | timedelta,
    lock_notify: bool,
) -> CachePolicy:
    """Return for how long opened DEKs stay usable.

    Raises:
        ConfigurationError: a duration is none, or ``jitter`` no fraction.
    """
    NUMBER.require("revalidation_jitter", jitter)
    if not 0 <= jitter < 1:
        raise ConfigurationError(
            "revalidation_jitter is a fraction of revalidate_after: give a number from 0 up to 1"
        )
    return CachePolicy(
        duration(revalidate_after, "revalidate_after"),
        duration(outage_grace, "outage_grace"),
        duration(retry_after, "retry_after"),
        jitter,
        refresh_ahead,
        duration(lock_check, "lock_check"),
        duration(lock_grace, "lock_grace"),
        lock_notify,
    )


def event_kinds(names: Iterable[str]) -> frozenset[EventKind]:
    """Return the kinds of audit events of these names.

    Raises:
        ConfigurationError: it is one name and no list of them, or there is no such event.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"a list of events is needed, and this is one: give it [{names!r}]")
    several("a list of audit events, such as ['shred']").require("reason_for", names)
    found = set[EventKind]()
    for name in names:
        try:
            found.add(EventKind(name))
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"reason_for: {named(name)} is none: give names of audit events, such as shred"
            ) from None
    return frozenset(found)


# What cannot be undone, or undoes what a customer has asked for.
GUARDED = (EventKind.SHRED, EventKind.DROP_RETIRED, EventKind.ASSIGN, EventKind.UNLOCK)


def guarded_operations(names: Iterable[str]) -> frozenset[EventKind]:
    """Return the operations of these names, which a second person has to approve.

    Raises:
        ConfigurationError: it is one name and no list of them, or a second person cannot be asked for.
    """
    if not isinstance(names, list | tuple | set | frozenset) or not all(one in GUARDED for one in names):
        raise ConfigurationError(
            f"two_people is a list of operations, some of {', '.join(GUARDED)}: give two_people=['shred']"
        )
    return frozenset(map(EventKind, names))
