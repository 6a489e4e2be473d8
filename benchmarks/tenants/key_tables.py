"""Fills key tables by hand, with authentic rows: making many tenants one by one takes long."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from sqlalchemy import insert

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.manifest.manifest import Manifests
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening.maker import new_dek
from sqlalchemy_cmk.keys.records import TenantKeys, TenantRecord
from sqlalchemy_cmk.keys.storage.rows import dek_columns, tenant_columns, wrapping_columns
from sqlalchemy_cmk.runtime.clock import this_second

CHUNK = 2_000


def write_keys(keyring: Keyring, made: Iterable[TenantKeys]) -> None:
    """Write tenants' keys as they are."""
    tables, manifests, left = keyring.database.tables, Manifests(keyring.record_keys), iter(made)
    while chunk := list(islice(left, CHUNK)):
        deks = [dek for one in chunk for dek in one.deks]
        rows: dict[Any, list[dict[str, Any]]] = {
            tables.tenants: [
                {"tenant": one.tenant.name, **tenant_columns(one.tenant, manifests.make(one))}
                for one in chunk
            ],
            tables.deks: [dek_columns(dek) for dek in deks],
            tables.wrappings: [row for dek in deks for row in wrapping_columns(dek)],
        }

        def write(connection: Any, rows: dict[Any, list[dict[str, Any]]] = rows) -> None:
            for table, values in rows.items():
                connection.execute(insert(table), values)

        keyring.database.run(write)


def make_tenants(keyring: Keyring, names: Iterable[str]) -> None:
    """Make tenants with a DEK each, wrapped by the platform's KEK."""
    keyring.warm([""])
    now, uri = this_second(), keyring.platform_key

    def made(name: str) -> TenantKeys:
        tenant = TenantRecord(name, uri, now, state_since=now)
        longest = keyring.keys.opener.longest_use.seconds
        dek, _ = new_dek(keyring.keys.wrapper, tenant, Purpose.RANDOMIZED, (uri,), longest)
        return TenantKeys(tenant, (dek,))

    write_keys(keyring, map(made, names))
