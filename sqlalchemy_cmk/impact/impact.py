"""Finds out what switching a tenant's keys off will do. See :func:`impact_of`."""

from __future__ import annotations

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.impact.history import KeyHistory
from sqlalchemy_cmk.impact.report import Impact, Neighbours, Times
from sqlalchemy_cmk.impact.stops import stops_of
from sqlalchemy_cmk.impact.tables import tables_of
from sqlalchemy_cmk.impact.unknown import unknown_of
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.scope import key_owner

NAMED = 20


def impact_of(keyring: Keyring, tenant: object, *, exact: bool = False) -> Impact:
    """Return what will stop when a tenant's keys are switched off, and when. Nothing is opened or changed.

    Numbers of rows come from the database's statistics, and each says how well it is known; tables of a few
    megabytes are counted. So it takes no longer for many rows.

    Args:
        keyring: it has to protect every model with sealed columns.
        tenant: the tenant's name; ``""`` is the platform.
        exact: count the rows, and the values under the tenant's DEKs. This reads whole tables.

    Raises:
        ConfigurationError: the tenant has no keys, or no model is protected.
        TamperedError: its keys are not those that were written.
        KeyUnavailable: the key tables cannot be reached now.
    """
    name = key_owner(tenant)
    return off_the_loop(lambda: _found(keyring, name, exact))


def _found(keyring: Keyring, name: str, exact: bool) -> Impact:
    if not keyring.protected:
        raise ConfigurationError(
            "no sealed column can be looked at: call keyring.protect(Base) with the models first"
        )
    keyring.keys.background.flush()
    keys = keyring.store.keys_of(name)
    if keys is None:
        raise unknown_tenant(keyring.store, name)
    keks = tuple(sorted({one.kek_uri for dek in keys.living for one in dek.wrappings}))
    keks = keks or (keys.tenant.kek_uri,)
    tables = tuple(tables_of(keyring, keys, exact=exact))
    history, times = KeyHistory.of(keyring, name), Times.of(keyring.keys.cache, keys)
    return Impact(
        tenant=name,
        state=keys.tenant.state,
        keks=keks,
        exact=exact,
        tables=tables,
        proven_at=keys.seen_at,
        opened_at=history.opened_at,
        opened_by=history.opened_by,
        stops=tuple(stops_of(keyring, name, tables)),
        times=times,
        neighbours=tuple(_neighbours(keyring, name, kek) for kek in keks),
        earlier_keks=tuple(one for one in history.keks if one not in keks),
        unknown=tuple(unknown_of(keyring, keys, tables, times)),
    )


def _neighbours(keyring: Keyring, name: str, kek_uri: str) -> Neighbours:
    states = keyring.count(kek=kek_uri)
    lines = keyring.status(kek=kek_uri, limit=NAMED + 1)
    others = [one.tenant for one in lines if one.tenant != name and one.state is not TenantState.SHREDDED]
    itself = any(kek_uri == kek.kek_uri for one in keyring.status([name]) for kek in one.keks)
    living = states.total() - states[TenantState.SHREDDED] - itself
    return Neighbours(kek_uri, max(0, living), tuple(others[:NAMED]))
