"""What an application does: it writes patients and reads them, one tenant's or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from sqlalchemy_cmk import tenant_scope
from tests.simulation.invariants import MARK
from tests.simulation.ledger import Change, Row
from tests.simulation.models import SEALED

if TYPE_CHECKING:
    from tests.simulation.process import Process

MOST_ROWS = 3


def write(process: Process) -> None:
    """Add, change and delete some patients in one transaction, of one clinic or of several."""
    random = process.world.random
    tenants = process.world.tenants if random.random() < 0.5 else [random.choice(process.world.tenants)]
    _write(process, tenants, changing=0.5)


def add(process: Process, tenant: str) -> None:
    """Add some patients of a clinic, and read none."""
    _write(process, [tenant], changing=0)


def _write(process: Process, tenants: Sequence[str], changing: float) -> None:
    world, random = process.world, process.world.random
    with process.session() as session:
        for _ in range(random.randint(1, MOST_ROWS)):
            now = world.ledger.now
            known = [key for key in world.ledger.known() if key not in now or now[key].tenant in tenants]
            if known and random.random() < changing:
                _change(process, session, random.choice(known))
            else:
                _add(process, session, random.choice(tenants))
        if random.random() < 0.1:
            _forget_changes(process)
            return
        try:
            session.commit()
        except StaleDataError:
            process.scheduler.note("the row is gone")
        except DBAPIError:
            # Where COMMIT fails SQLite's transaction goes on, and the pool gives the connection to others.
            session.invalidate()
            raise
        finally:
            _forget_changes(process)


def _pending(process: Process) -> dict[int, Change]:
    task = process.scheduler.current
    assert task is not None
    return task.pending


def _forget_changes(process: Process) -> None:
    _pending(process).clear()


def _values(process: Process, tenant: str) -> dict[str, str | None]:
    return {name: process.world.new_value(tenant) for name in SEALED}


def _add(process: Process, session: Session, tenant: str) -> None:
    key, values = process.world.new_key(), _values(process, tenant)
    session.add(process.models.patient(id=key, clinic_id=tenant, **values))
    _pending(process)[key] = Change(values, tenant)


def _change(process: Process, session: Session, key: int) -> None:
    random = process.world.random
    before = process.world.ledger.now.get(key)
    if before is None or key in _pending(process):
        return
    with tenant_scope(before.tenant), session.no_autoflush:
        patient = session.get(process.models.patient, key)
    if patient is None:
        return
    if random.random() < 0.2:
        session.delete(patient)
        _pending(process)[key] = Change(None)
        return
    new = _values(process, before.tenant)
    new.pop(random.choice([*new, ""]), None)
    for name, value in new.items():
        setattr(patient, name, value)
    _pending(process)[key] = Change(new)


def read(process: Process) -> None:
    """Read the patients of one clinic, by its column or in its scope, or those of all clinics."""
    random, patient = process.world.random, process.models.patient
    tenant = random.choice([*process.world.tenants, None])
    query = select(patient).order_by(patient.id)
    if tenant is None:
        _read(process, query, set(process.world.tenants))
    elif random.random() < 0.5:
        _read(process, query.where(patient.clinic_id == tenant), {tenant})
    else:
        with tenant_scope(tenant):
            _read(process, query.where(patient.clinic_id == tenant), {tenant})


def read_of(process: Process, tenant: str) -> None:
    """Read the patients of a clinic."""
    patient = process.models.patient
    _read(process, select(patient).where(patient.clinic_id == tenant), {tenant})


def find(process: Process) -> None:
    """Find a patient by a deterministic column, unless it is sealed under another DEK than the active one."""
    world, patient = process.world, process.models.patient
    rows = [row for row in world.ledger.now.values() if row.values.get("email")]
    if not rows:
        return
    row = world.random.choice(rows)
    query = select(patient).where(patient.clinic_id == row.tenant, patient.email == row.values["email"])
    _read(process, query, {row.tenant}, complete=False)


def _read(process: Process, query: Any, tenants: set[str], *, complete: bool = True) -> None:
    """Read, and compare with what was stored at some moment meanwhile."""
    world = process.world
    since = world.ledger.commits
    with process.session() as session:
        found = {
            one.id: Row(one.clinic_id, {name: getattr(one, name) for name in SEALED}, {})
            for one in session.scalars(query)
        }
    for key in world.ledger.known():
        versions = world.ledger.versions(key, since)
        row = found.pop(key, None)
        if row is None:
            if complete and all(one is not None and one.tenant in tenants for one in versions):
                world.fail(f"{process.name} does not find row {key}")
            continue
        if row.tenant not in tenants:
            world.fail(f"{process.name} reads row {key} of {row.tenant!r} for {sorted(tenants)}")
        for value in row.values.values():
            if value is not None and not value.startswith(f"{MARK}{row.tenant}-"):
                world.fail(f"{process.name} reads {value!r} as a value of {row.tenant!r}")
        if row not in versions:
            world.fail(f"{process.name} reads {row} as row {key}, and {versions[-1]} was written last")
    if found:
        world.fail(f"{process.name} reads rows that nobody wrote: {sorted(found)}")
