"""What is known of a tenant's keys, and what may be done with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from examples.clinic.models import Base
from examples.clinic.services.certificates import certified
from examples.clinic.storage import PLATFORM_KEY, Storage
from sqlalchemy_cmk.keys.kek_uses import KekUse
from sqlalchemy_cmk.keys.model import TenantState, TenantStatus
from sqlalchemy_cmk.keys.records import DekRecord
from sqlalchemy_cmk.rekey import Job, count_rows
from sqlalchemy_cmk.runtime.clock import elapsed

# What the owner of a clinic's rows may do, and what those who run the platform may do for everybody.
OWNERS = ("own_key", "platform_key", "add_region", "drop_region", "unlock", "shred")
EVERYBODYS = ("rewrap", "rotate_dek", "lock")


@dataclass(frozen=True)
class Dek:
    """A DEK, and how many values are sealed under it."""

    record: DekRecord
    values: int


@dataclass(frozen=True)
class TenantView:
    """A tenant's keys: the line of the status, its KEKs as they answer now, and its DEKs."""

    line: TenantStatus
    keks: Sequence[KekUse]
    deks: Sequence[Dek]

    @property
    def kek_uris(self) -> set[str]:
        return {one.kek_uri for one in self.keks}


def jobs(tenant: str) -> list[Job]:
    """Return the re-encryption of a tenant's rows, table by table."""
    return [Job.of(table, tenant=tenant) for table in sealed_tables()]


def sealed_tables() -> list[Table]:
    """Return the tables whose rows have owners."""
    return [one for one in Base.metadata.sorted_tables if one.c.get("clinic") is not None]


def lines(storage: Storage) -> list[TenantStatus]:
    return [line for line in storage.keyring.status() if line.tenant]


def view(storage: Storage, tenant: str) -> TenantView | None:
    """Return what is known of a tenant's keys; this asks its KEKs."""
    keyring = storage.keyring
    found = keyring.store.keys_of(tenant)
    uses = keyring.kek_uses([tenant])
    line = next(iter(keyring.status([tenant])), None)
    if line is None:
        return None
    values = _values(storage, tenant)
    living = () if found is None else found.living
    return TenantView(line, uses, [Dek(dek, values[dek.id]) for dek in living])


def seconds_open(storage: Storage, tenant: str) -> tuple[int, float]:
    """Return how many of a tenant's DEKs are open in this process, and for how many seconds the last is."""
    found = storage.keyring.store.keys_of(tenant)
    opened = [storage.keyring.opened.peek(dek.id) for dek in (() if found is None else found.living)]
    left = [one.deadline - elapsed() for one in opened if one is not None]
    living = [one for one in left if one > 0]
    return len(living), max(living, default=0.0)


def do(storage: Storage, tenant: str, action: str, typed: str) -> str:
    """Do one thing with a tenant's keys, and say what was done.

    Args:
        typed: what the form asked for: the tenant's name again to shred, why to lock.
    """
    keyring, lifecycle = storage.keyring, storage.keyring.lifecycle
    vault = storage.vaults.get(tenant)
    if action == "rewrap":
        with certified(storage, tenant, "rewrap"):
            report = lifecycle.rewrap(tenant)
        return f"{report.rewrapped} DEKs were wrapped by the newest version. No row was touched."
    if action == "platform_key":
        with certified(storage, tenant, "assign the platform's key"):
            keyring.assign(tenant, PLATFORM_KEY)
        return "The platform's key wraps the DEKs now. No row was touched."
    if action == "lock":
        keyring.lock(tenant, reason=typed)
        return "Locked: every process has dropped the data keys within seconds, and opens none."
    if action == "unlock":
        keyring.unlock(tenant)
        return "Unlocked: the key is asked at the next use."
    if action == "shred":
        with certified(storage, tenant, "shred"):
            lifecycle.shred(tenant, confirm=typed)
        return (
            "Every wrapping was destroyed: nobody can read these rows any more, in any copy made from now on."
        )
    if vault is not None and action == "own_key":
        with certified(storage, tenant, "assign the customer's key"):
            keyring.assign(tenant, vault.kek_uri)
        return "The customer's key wraps the DEKs now. No row was touched."
    if vault is not None and action == "add_region":
        lifecycle.add_wrapping(tenant, vault.second_region)
        return "A second key wraps the DEKs as well: either opens them."
    if vault is not None and action == "drop_region":
        lifecycle.drop_wrapping(tenant, vault.second_region)
        return "The second key's wrappings were removed."
    raise KeyError(action)


def state_of(line: TenantStatus | None) -> TenantState:
    return TenantState.OK if line is None else line.state


def _values(storage: Storage, tenant: str) -> Counter[bytes]:
    """Count a tenant's values under each DEK."""
    known, total = storage.keyring.dek_states(), Counter[bytes]()
    with storage.engine.connect() as connection:
        for table in sealed_tables():
            names = [move.source for move in Job.of(table, tenant=tenant).moves]
            found = count_rows(connection, table, names, known, table.c.clinic == tenant)
            for counts in found.values():
                for dek_id, count in counts.by_dek.items():
                    if dek_id is not None:
                        total[dek_id] += count
    return total
