"""Writes changes of tenants' keys into the key tables. See :class:`KeyWriter`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.manifest.manifest import Manifest
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys
from sqlalchemy_cmk.keys.storage.rows import dek_columns, tenant_columns, wrapping_columns
from sqlalchemy_cmk.keys.storage.tables import KeyTables
from sqlalchemy_cmk.runtime.parts import in_parts

# DEKs whose wrappings one statement deletes.
MANY = 500


class OtherWasFirst(Exception):
    """What a change writes beside the keys cannot be written any more: the transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A change of one tenant's keys that is about to be written.

    Attributes:
        before: the keys that it was planned for.
        after: the keys as they will be.
        manifest: authenticates them.
        planned_events: what the audit trail records.
        beside: as in the change.
    """

    before: TenantKeys
    after: TenantKeys
    manifest: Manifest
    planned_events: tuple[AuditEvent, ...]
    beside: Callable[[Connection], bool] | None = None

    @property
    def tenant(self) -> str:
        """The tenant's name."""
        return self.after.tenant.name

    @property
    def events(self) -> list[AuditEvent]:
        """What the audit trail records, with the epoch of the change."""
        return [replace(one, epoch=self.after.tenant.epoch) for one in self.planned_events]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the tenant's row, without its name."""
        return tenant_columns(self.after.tenant, self.manifest)


class KeyWriter:
    """Writes changes of keys, in the caller's transaction.

    Args:
        tables: the key tables.
    """

    def __init__(self, tables: KeyTables) -> None:
        self._tables = tables
        # Made once: where many tenants' keys change it is run for each.
        t = tables.tenants
        expected = t.c.tenant == bindparam("of_tenant"), t.c.epoch == bindparam("of_epoch")
        self._advancing = update(t).where(*expected)

    def write(self, connection: Connection, planned: Sequence[PlannedChange]) -> list[PlannedChange]:
        """Write changes; return those that were, without those whose keys another process has changed.

        Raises:
            IntegrityError: another process was first with a new tenant.
            OtherWasFirst: another process was first with what is written beside the keys.
        """
        done = [one for one in planned if one.before.stored and self._advance(connection, one)]
        new = [one for one in planned if not one.before.stored]
        if new:
            rows = [{"tenant": one.tenant, **one.columns} for one in new]
            connection.execute(insert(self._tables.tenants), rows)
        done += new
        self._write_deks(connection, done)
        if not all(one.beside(connection) for one in done if one.beside is not None):
            raise OtherWasFirst
        return done

    def _advance(self, connection: Connection, one: PlannedChange) -> bool:
        """Advance a tenant's epoch, which locks its row: changes to its keys happen one after the other."""
        before = {"of_tenant": one.tenant, "of_epoch": one.before.tenant.epoch}
        return connection.execute(self._advancing, {**before, **one.columns}).rowcount == 1

    def _write_deks(self, connection: Connection, planned: Sequence[PlannedChange]) -> None:
        deks, wrappings = self._tables.deks, self._tables.wrappings
        new: list[DekRecord] = []
        wrapped_anew: list[DekRecord] = []
        for change in planned:
            known = {one.id: one for one in change.before.deks}
            for dek in change.after.deks:
                was = known.get(dek.id)
                if was is None:
                    new.append(dek)
                    continue
                # A DEK that retires makes room for the new active one.
                if replace(dek, wrappings=was.wrappings) != was:
                    connection.execute(update(deks).where(deks.c.id == dek.id).values(**dek_columns(dek)))
                if dek.wrappings != was.wrappings:
                    wrapped_anew.append(dek)
        if new:
            connection.execute(insert(deks), list(map(dek_columns, new)))
        for part in in_parts((dek.id for dek in wrapped_anew), MANY):
            connection.execute(wrappings.delete().where(wrappings.c.dek_id.in_(part)))
        rows = [row for dek in (*new, *wrapped_anew) for row in wrapping_columns(dek)]
        if rows:
            connection.execute(insert(wrappings), rows)
