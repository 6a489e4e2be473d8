"""What ``cmk assign`` asks before it makes something that a mistyped name would make too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from sqlalchemy_cmk.cli.output import tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.lifecycle.unknown import nearly
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider
from sqlalchemy_cmk.runtime.printable import printable
from sqlalchemy_cmk.scope import PLATFORM_TENANT

SHOWN = 3


def ask_about(keyring: Keyring, tenants: Sequence[str], kek_uri: str, *, new: bool) -> None:
    """Ask about tenants that have no keys yet, and about a KEK that is new or somebody else's.

    Args:
        keyring: the application's keyring.
        tenants: the tenants that are named; none where everybody of a KEK is moved.
        kek_uri: the KEK that they are to be under.
        new: whether tenants without keys are meant.

    Raises:
        click.Abort: a question was not answered with yes.
    """
    for question in _questions(keyring, tenants, kek_uri, new=new):
        click.confirm(question, abort=True, err=True)


def _questions(keyring: Keyring, tenants: Sequence[str], kek_uri: str, *, new: bool) -> Iterator[str]:
    known = {line.tenant for line in keyring.status(tenants)} if tenants else set()
    for name in () if new else tenants:
        if name not in known and name != PLATFORM_TENANT:
            meant = printable(nearly(keyring.store, name)) or "."
            yield f"{tenant_label(name)} has no keys here{meant} Make a new tenant of this name?"
    provider = keyring.provider_of(kek_uri)
    if _is_new(keyring, provider, kek_uri):
        yield f"There is no KEK {printable(kek_uri)} yet. Make it?"
    elif tenants and kek_uri != keyring.platform_key:
        others = _others(keyring, tenants, kek_uri)
        if others:
            named = ", ".join(map(tenant_label, others[:SHOWN]))
            more = " and others" if len(others) > SHOWN else ""
            yield f"{printable(kek_uri)} serves {named}{more} already, whose owner could shut both. Go on?"


def _is_new(keyring: Keyring, provider: KeyProvider, kek_uri: str) -> bool:
    """Return whether a local KEK is not there and wraps nothing: one that does has gone missing."""
    if not isinstance(provider, LocalKeyProvider) or provider.has(kek_uri):
        return False
    return not keyring.store.is_in_use(kek_uri)


def _others(keyring: Keyring, tenants: Sequence[str], kek_uri: str) -> list[str]:
    lines = keyring.status(kek=kek_uri, limit=len(tenants) + SHOWN + 1)
    shredded = TenantState.SHREDDED
    return [line.tenant for line in lines if line.state is not shredded and line.tenant not in tenants]
