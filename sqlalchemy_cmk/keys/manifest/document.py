"""A tenant's keys as canonical bytes, and the first difference between two such documents.

A document is MessagePack: the tenant's fields, then its DEKs in the order of their ids, each with its
wrappings in the order of their KEKs. Of a wrapped DEK it holds the SHA-256.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys
from sqlalchemy_cmk.runtime.clock import as_utc

VERSION = 1

# What messages call the fields, in the order of the document.
_TENANT = ("kek_uri", "epoch", "state", "reason", "state_since", "created_at", "outage_grace")
_DEK = ("purpose", "state", "check_value", "created_at", "retired_at", "longest_use")
_WRAPPING = ("version", "algorithm", "bytes")


def document_of(keys: TenantKeys) -> bytes:
    """Return the document of a tenant's keys."""
    return msgspec.msgpack.encode((VERSION, keys.tenant.name, *_parts(keys)))


def difference(document: bytes, keys: TenantKeys) -> str:
    """Return where the keys that were read first differ from an authentic document; ``""`` if nowhere.

    Args:
        document: what was authenticated.
        keys: what the tables hold.
    """
    written = msgspec.msgpack.decode(document)
    if written[:2] != [VERSION, keys.tenant.name]:
        return "the manifest is that of another tenant"
    tenant, deks = written[2], {one[0]: one for one in written[3]}
    here, deks_here = _parts(keys)
    for field, was, is_now in zip(_TENANT, tenant, here, strict=True):
        if was != is_now:
            return f"{field} was changed in the table of tenants"
    for dek in deks_here:
        if dek[0] not in deks:
            return f"DEK {dek[0].hex()} was added to the table of DEKs, or put back"
        found = _dek_difference(deks.pop(dek[0]), dek)
        if found:
            return found
    return f"DEK {next(iter(deks)).hex()} was removed from the table of DEKs" if deks else ""


def _dek_difference(written: list[Any], dek: tuple[Any, ...]) -> str:
    name = f"DEK {dek[0].hex()}"
    for field, was, is_now in zip(_DEK, written[1], dek[1], strict=True):
        if was != is_now:
            return f"the {field} of {name} was changed in the table of DEKs"
    wrappings = {one[0]: one[1] for one in written[2]}
    for kek_uri, fields in dek[2]:
        if kek_uri not in wrappings:
            return f"a wrapping of {name} was added to the table of wrappings, or put back"
        for field, was, is_now in zip(_WRAPPING, wrappings.pop(kek_uri), fields, strict=True):
            if was != is_now:
                return f"the {field} of a wrapping of {name} was changed in the table of wrappings"
    return f"a wrapping of {name} was removed from the table of wrappings" if wrappings else ""


def _parts(keys: TenantKeys) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
    t = keys.tenant
    times = _moment(t.state_since), _moment(t.created_at)
    tenant = (t.kek_uri, t.epoch, str(t.state), t.reason, *times, t.outage_grace)
    return tenant, [_dek(one) for one in keys.deks]


def _dek(dek: DekRecord) -> tuple[Any, ...]:
    times = _moment(dek.created_at), _moment(dek.retired_at)
    wrappings = [
        (one.kek_uri, (one.kek_version, one.algorithm, sha256(one.data).digest())) for one in dek.wrappings
    ]
    about = str(dek.purpose), str(dek.state), dek.check_value, *times, dek.longest_use
    return dek.id, about, wrappings


def _moment(at: datetime | None) -> str | None:
    return None if at is None else as_utc(at).astimezone(UTC).isoformat()
