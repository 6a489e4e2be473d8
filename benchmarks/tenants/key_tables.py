"""Fills key tables by hand, with authentic rows: making many tenants one by one takes long."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from sqlalchemy import insert

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.manifest.manifest import Manifests
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening.making import new_dek
from sqlalchemy_cmk.keys.records import TenantKeys, TenantRecord
from sqlalchemy_cmk.keys.storage.rows import dek_columns, tenant_columns, wrapping_columns
from sqlalchemy_cmk.runtime.clock import this_second

CHUNK = 2_000
LONGEST_USE = 7 * 86_400.0


def write_keys(keyring: Keyring, made: Iterable[TenantKeys]) -> None:
    """Write tenants' keys as they are."""
    tables, manifests, left = keyring.database.tables, Manifests(keyring.record_keys), iter(made)
    while chunk := list(islice(left, CHUNK)):
        deks = [dek for one in chunk for dek in one.deks]
        rows: dict[Any, list[dict[str, Any]]] = {
            tables.tenants: [
                {"tenant": one.tenant.name, **tenant_columns(one.tenant, manifest)}
                for one, manifest in zip(chunk, manifests.make_all(chunk), strict=True)
            ],
            tables.deks: [dek_columns(dek) for dek in deks],
            tables.wrappings: [row for dek in deks for row in wrapping_columns(dek)],
        }

        def write(connection: Any, rows: dict[Any, list[dict[str, Any]]] = rows) -> None:
            for table, values in rows.items():
                connection.execute(insert(table), values)

        keyring.database.run(write)


def make_tenants(keyring: Keyring, names: Iterable[str], kek_of: Callable[[str], str] | None = None) -> None:
    """Make tenants with a DEK each, wrapped by the platform's KEK, or by ``kek_of`` a tenant."""
    keyring.warm([""])
    now, wrapper = this_second(), keyring.keys.wrapper

    def made(name: str) -> TenantKeys:
        uri = kek_of(name) if kek_of is not None else keyring.platform_key
        tenant = TenantRecord(name, uri, now, state_since=now)
        dek, _ = wrapper.calls.follow(new_dek(wrapper, tenant, Purpose.RANDOMIZED, (uri,), LONGEST_USE))
        return TenantKeys(tenant, (dek,))

    write_keys(keyring, map(made, names))
