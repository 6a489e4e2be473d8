"""Rows of the key tables, read into records and written from them.

What a row says is input from an adversary: whatever this library does not write is ``TamperedError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import Row, Select, select

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.manifest.manifest import Manifest
from sqlalchemy_cmk.keys.model import DekState, Purpose, TenantState
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys, TenantRecord, by_kek
from sqlalchemy_cmk.keys.storage.tables import KeyTables
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.clock import as_utc

Kind = TypeVar("Kind", bound=StrEnum)

_STORED_STATES = (TenantState.OK, TenantState.REVOKED, TenantState.LOCKED, TenantState.SHREDDED)


def select_tenants(tables: KeyTables) -> Select[Any]:
    """Return the query of tenants, for :func:`tenant_of`."""
    t = tables.tenants.c
    about = (t.tenant, t.kek_uri, t.created_at, t.epoch, t.state, t.reason, t.state_since, t.outage_grace)
    return select(*about, t.seen_at, t.manifest, t.manifest_mac, t.record_key).order_by(t.tenant)


def select_deks(tables: KeyTables) -> Select[Any]:
    """Return the query of DEKs with their wrappings, for :func:`deks_of`."""
    d, w = tables.deks.c, tables.wrappings.c
    times = (d.created_at, d.retired_at, d.longest_use)
    dek = (d.id, d.tenant, d.purpose, d.state, d.active_slot, d.check_value, *times)
    joined = tables.deks.outerjoin(tables.wrappings, w.dek_id == d.id)
    wrapping = (w.kek_uri, w.kek_version, w.algorithm, w.wrapped)
    return select(*dek, *wrapping).select_from(joined).order_by(d.id, w.kek_uri)


def tenant_of(row: Row[Any]) -> tuple[TenantKeys, Manifest]:
    """Return a tenant without its DEKs, and its manifest.

    Raises:
        TamperedError: the row holds what this library does not write.
    """
    name, kek_uri, created_at, epoch, state, reason, since, grace, *others = tuple[Any, ...](row)
    seen_at, document, mac, key_id = others
    where = f"the keys of tenant {name!r}: the table of tenants"
    record = TenantRecord(
        name,
        _is(kek_uri, str, where),
        _moment(created_at, where),
        _is(epoch, int, where),
        _one_of(_STORED_STATES, state, where),
        None if reason is None else _is(reason, str, where),
        _moment(since, where),
        None if grace is None else _seconds(grace, where),
    )
    seen = None if seen_at is None else _moment(seen_at, where)
    manifest = Manifest(_bytes_or_none(document, where), _bytes_or_none(mac, where), key_id)
    return TenantKeys(record, (), seen), manifest


def deks_of(rows: Iterable[Row[Any]]) -> tuple[DekRecord, ...]:
    """Return the DEKs of rows, each with its wrappings.

    Raises:
        TamperedError: a row holds what this library does not write.
    """
    about: dict[bytes, tuple[Any, ...]] = {}
    wrappings: dict[bytes, list[Wrapped]] = {}
    for row in rows:
        dek_id, tenant, purpose, state, slot, checked, *rest = tuple[Any, ...](row)
        created, retired, longest_use, *wrapping = rest
        where = f"the keys of tenant {tenant!r}: the table of DEKs"
        key = _bytes(dek_id, where)
        if key not in about:
            kinds = _one_of(Purpose, purpose, where), _one_of(DekState, state, where)
            if slot != (1 if kinds[1] is DekState.ACTIVE else None):
                raise TamperedError(f"{where} has an active_slot that does not fit its state")
            times = _moment(created, where), None if retired is None else _moment(retired, where)
            about[key] = tenant, *kinds, _bytes(checked, where), *times, _seconds(longest_use, where)
            wrappings[key] = []
        if wrapping[0] is not None:
            where = f"the keys of tenant {tenant!r}: the table of wrappings"
            wrappings[key].append(_wrapped(wrapping, where))
    found = []
    for key, (tenant, kind, in_state, checked, *others) in about.items():
        found.append(DekRecord(key, tenant, kind, in_state, by_kek(wrappings[key]), checked, *others))
    return tuple(sorted(found, key=lambda one: one.id))


def tenant_columns(tenant: TenantRecord, manifest: Manifest) -> dict[str, Any]:
    """Return the columns of a tenant's row, without its name."""
    return {
        "kek_uri": tenant.kek_uri,
        "created_at": tenant.created_at,
        "epoch": tenant.epoch,
        "state": tenant.state,
        "reason": tenant.reason,
        "state_since": tenant.state_since,
        "outage_grace": tenant.outage_grace,
        "manifest": manifest.document,
        "manifest_mac": manifest.mac,
        "record_key": manifest.key_id,
    }


def dek_columns(dek: DekRecord) -> dict[str, Any]:
    """Return the columns of a DEK's row."""
    return {
        "id": dek.id,
        "tenant": dek.tenant,
        "purpose": dek.purpose,
        "state": dek.state,
        "active_slot": 1 if dek.state is DekState.ACTIVE else None,
        "check_value": dek.check_value,
        "created_at": dek.created_at,
        "retired_at": dek.retired_at,
        "longest_use": dek.longest_use,
    }


def wrapping_columns(dek: DekRecord) -> list[dict[str, Any]]:
    """Return the columns of the rows of a DEK's wrappings."""
    return [
        {
            "dek_id": dek.id,
            "kek_uri": one.kek_uri,
            "kek_version": one.kek_version,
            "algorithm": one.algorithm,
            "wrapped": one.data,
        }
        for one in dek.wrappings
    ]


def _wrapped(row: Sequence[Any], where: str) -> Wrapped:
    kek_uri, version, algorithm, data = row
    uri, version, algorithm = (_is(one, str, where) for one in (kek_uri, version, algorithm))
    return Wrapped(uri, version, algorithm, _bytes(data, where))


def _one_of(kinds: Iterable[Kind], text: object, where: str) -> Kind:
    for kind in kinds:
        if text == kind.value:
            return kind
    raise TamperedError(f"{where} has a state or purpose that does not exist")


def _is(value: object, kind: type[Any], where: str) -> Any:
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    raise TamperedError(f"{where} holds a value of the wrong kind")


def _moment(value: object, where: str) -> datetime:
    return as_utc(_is(value, datetime, where))


def _seconds(value: object, where: str) -> float:
    seconds = float(_is(value, int | float, where))  # type: ignore[arg-type]
    if seconds >= 0:
        return seconds
    raise TamperedError(f"{where} has a negative duration")


def _bytes(value: object, where: str) -> bytes:
    # MariaDB's and SQLite's drivers return text where somebody has written text.
    return bytes(_is(value, bytes | bytearray | memoryview, where))  # type: ignore[arg-type]


def _bytes_or_none(value: object, where: str) -> bytes | None:
    return None if value is None else _bytes(value, where)
