"""What must hold after every commit, and of every value that is read: DESIGN's rules that protect data.

The checks read past the library. What they know they know from the database, the vault and the `Ledger`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy_cmk.format import HEADER_BYTES
from tests.simulation.access import Access
from tests.simulation.ledger import Change, Row
from tests.simulation.models import CONVERTED, CONVERTED_COLUMN, SEALED, TABLE
from tests.simulation.scheduler import Task
from tests.simulation.stored import Dek, Keys, Unreadable, header

if TYPE_CHECKING:
    from tests.simulation.world import World

MARK = "plain-"


class Invariants:
    """The rules of one world. A broken one is noted with `World.fail`, and ends the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys = Keys()
        self._access = Access(world.vault, lambda: world.scheduler.now)
        self._destroyed: set[bytes] = set()

    def about_to_write(self, connection: Any, sql: str, parameters: Any) -> None:
        """Whatever is written is sealed under a DEK that is committed, by a process that may still use it.

        Or under one that this transaction has written, which is committed with the row or not at all.
        """
        if sql.startswith("INSERT INTO cmk_deks"):
            connection.made |= {
                bytes(one) for one in _flat(parameters) if isinstance(one, bytes | memoryview)
            }
        if TABLE not in sql and CONVERTED not in sql:
            return
        self._note_sent(parameters)
        if TABLE not in sql or not sql.startswith(("INSERT", "UPDATE")):
            return
        for value in _flat(parameters):
            if isinstance(value, str) and MARK in value:
                self._broken("a plaintext is on its way to the database")
            if isinstance(value, bytes | memoryview):
                dek_id = header(value)[1]
                if dek_id not in self._keys.deks and dek_id not in connection.made:
                    self._broken(f"a value is sealed under DEK {dek_id.hex()}, which is not committed")

    def after_commit(self, task: Task | None, *, wrote: bool) -> None:
        """Look at everything that is stored now.

        Args:
            task: who committed.
            wrote: whether its transaction wrote to the table.
        """
        world = self._world
        self.look_at_keys()
        pending = task.pending if task is not None and wrote else {}
        rows: dict[int, Row] = {}
        for key, tenant, raw in world.stored.table():
            known = world.ledger.now.get(key)
            wanted = pending[key].after(known) if key in pending else known
            rows[key] = self._row(key, tenant, raw, wanted)
        form = world.stored.form()
        for key, tenant, value in world.stored.visits():
            known = world.ledger.now.get(key)
            wanted = pending[key].after(known) if key in pending else known
            rows[key] = self._visit(key, tenant, value, form, wanted)
        for key in sorted(rows.keys() | world.ledger.now.keys()):
            self._compare(key, rows.get(key), pending.get(key))
        if task is not None and wrote:
            task.pending = {}
        world.ledger.commit(rows)

    def look_at_keys(self) -> None:
        """What the key tables say is possible, proven, and never goes back."""
        before, self._keys = self._keys, self._world.stored.keys()
        for name, tenant in before.tenants.items():
            if name not in self._keys.tenants or self._keys.tenants[name].epoch < tenant.epoch:
                self._broken(f"the epoch of {name!r} went back")
        active: set[tuple[str, str]] = set()
        for dek in self._keys.deks.values():
            if dek.state == "active" and (dek.tenant, dek.purpose) in active:
                self._broken(f"{dek.tenant!r} has two active DEKs")
            if dek.state == "active":
                active.add((dek.tenant, dek.purpose))
            if before.deks.get(dek.id) != dek:
                self._look_at_dek(dek)
        if before.deks.keys() - self._keys.deks.keys():
            self._broken("a DEK was removed")
        self.note_access()

    def note_access(self) -> None:
        """Note since when no KEK opens a DEK."""
        self._access.note(self._keys)

    def about_to_use(self, dek_id: bytes, seals: bool) -> None:
        """A value is opened or sealed within the bound of its DEK, which is committed and not destroyed."""
        task = self._world.scheduler.current
        assert task is not None
        dek, does = self._keys.deks.get(dek_id), "seals under" if seals else "opens with"
        if dek is None:
            if not any(dek_id in getattr(one, "made", ()) for one in task.process.wire.connections):
                self._broken(f"{task.name} {does} DEK {dek_id.hex()}, which is not committed")
            return
        if seals:
            task.process.unsent.add(dek_id)
        overdue = self._access.overdue(task.process, dek)
        if overdue is not None:
            who = f"{task.name} {does} DEK {dek_id.hex()} of {dek.tenant!r}"
            self._broken(f"{who} {overdue:.3f} s after it was closed")
        if seals and dek.state == "destroyed" and not self._is_shredded(dek.tenant):
            self._broken(f"{task.name} {does} DEK {dek_id.hex()}, which is destroyed")

    def keks_in_use(self) -> list[str]:
        """The KEKs that wrap a DEK."""
        return sorted({uri for dek in self._keys.deks.values() for uri, _, _ in dek.wrappings})

    def _note_sent(self, parameters: Any) -> None:
        task = self._world.scheduler.current
        if task is not None and task.process is not None and task.process.unsent:
            for value in _flat(parameters):
                if isinstance(value, bytes | memoryview):
                    task.process.unsent.discard(bytes(value[1:HEADER_BYTES]))

    def _look_at_dek(self, dek: Dek) -> None:
        if dek.id in self._destroyed and dek.state != "destroyed":
            self._broken(f"DEK {dek.id.hex()} came back")
        if dek.state == "destroyed":
            self._destroyed.add(dek.id)
            if dek.wrappings:
                self._broken(f"DEK {dek.id.hex()} is destroyed and has wrappings")
            return
        if not dek.wrappings:
            self._broken(f"DEK {dek.id.hex()} has no wrapping")
        for wrapping in dek.wrappings:
            try:
                self._world.stored.unwrapped(dek, wrapping)
            except Unreadable as error:
                self._broken(f"a wrapping is committed that opens nothing: {error}")
            if wrapping[2] not in self._world.vault.proven:
                self._broken(f"a wrapping of DEK {dek.id.hex()} by {wrapping[0]} is committed and not proven")

    def _row(self, key: int, tenant: str, raw: dict[str, Any], wanted: Row | None, form: str = "") -> Row:
        values: dict[str, str | None] = {}
        deks: dict[str, bytes] = {}
        for column, stored in raw.items():
            if stored is None:
                values[column] = None
                continue
            where = f"{column} of row {key}"
            try:
                dek_id = deks[column] = header(stored)[1]
                dek = self._keys.deks.get(dek_id)
                if dek is None:
                    self._broken(f"{where} is sealed under DEK {dek_id.hex()}, which is not committed")
                elif dek.tenant != tenant:
                    self._broken(f"{where} of {tenant!r} is sealed for {dek.tenant!r}")
                elif dek.purpose != (form or SEALED[column].scheme.purpose):
                    self._broken(f"{where} is sealed under a DEK for {dek.purpose}")
                elif dek.state == "destroyed":
                    if not self._is_shredded(tenant):
                        self._broken(f"{where} stands under DEK {dek_id.hex()}, which is destroyed")
                    values[column] = wanted.values.get(column) if wanted else None
                else:
                    values[column] = self._world.stored.opened(column, bytes(stored), dek)
            except Unreadable as error:
                self._broken(f"{where} cannot be read: {error}")
        return Row(tenant, values, deks)

    def _visit(self, key: int, tenant: str, stored: Any, form: str, wanted: Row | None) -> Row:
        if form and stored is not None:
            return self._row(key, tenant, {CONVERTED_COLUMN: stored}, wanted, form)
        plain = None if stored is None else bytes(stored)
        if plain is not None and not plain.startswith(MARK.encode()):
            self._broken(f"visit {key} is {plain!r}, and the column is plain")
            plain = None
        return Row(tenant, {CONVERTED_COLUMN: None if plain is None else plain.decode()}, {})

    def _compare(self, key: int, row: Row | None, change: Change | None) -> None:
        before = self._world.ledger.now.get(key)
        wanted = before if change is None else change.after(before)
        if row != wanted and not (row is not None and self._is_shredded(row.tenant)):
            self._broken(f"row {key} is {row}, and {wanted} was written last")

    def _is_shredded(self, tenant: str) -> bool:
        return tenant in self._keys.tenants and self._keys.tenants[tenant].state == "shredded"

    def _broken(self, rule: str) -> None:
        self._world.fail(rule)


def _flat(parameters: Any) -> Iterable[Any]:
    if isinstance(parameters, dict):
        parameters = list(parameters.values())
    for one in parameters:
        if isinstance(one, list | tuple | dict):
            yield from _flat(one)
        else:
            yield one
