"""Workers that move rows to the active DEKs while the application writes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy_cmk.keys.lifecycle.dropping import CLOCKS_APART
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey import Job, Rekey
from sqlalchemy_cmk.rekey.dropping import drop_retired
from tests.simulation import actors, life
from tests.simulation.process import LONGEST_USE
from tests.simulation.step import Step

if TYPE_CHECKING:
    from tests.simulation.process import Process


def rekey(process: Process) -> None:
    """Re-encrypt all rows, or one clinic's, with one worker or two, in batches of a few rows."""
    random = process.world.random
    tenant = random.choice([None, *process.world.tenants])
    chunk, workers = random.randint(1, 5), random.randint(1, 2)
    Rekey(process.keyring, chunk=chunk, rate=None, workers=workers).run(_job(process, tenant))


def drop(process: Process) -> None:
    """Destroy retired DEKs under which no row is left."""
    drop_retired(process.keyring, process.world.random.choice([None, *process.world.tenants]))


def renew(process: Process) -> None:
    """What an operator does in a row: a new DEK, all rows under it, and the old one destroyed."""
    random = process.world.random
    tenant, purpose = random.choice(process.world.tenants), random.choice(life.PURPOSES)
    _renew(process, tenant, purpose, 0)


def renew_patiently(process: Process) -> None:
    """The same by an operator who waits for as long as such processes seal under the old DEK."""
    random = process.world.random
    tenant, purpose = random.choice(process.world.tenants), random.choice(life.PURPOSES)
    _renew(process, tenant, purpose, process.settings.longest_use + CLOCKS_APART + 20)


def renew_in_use(process: Process) -> None:
    """The same while the application adds rows, before, and again as soon as the old DEK is destroyed."""
    random = process.world.random
    tenant, purpose = random.choice(process.world.tenants), random.choice(life.PURPOSES)
    _everyone_adds(process, tenant)
    _renew(process, tenant, purpose, process.settings.longest_use + CLOCKS_APART + 20)
    _everyone_adds(process, tenant)


def _everyone_adds(process: Process, tenant: str) -> None:
    step = Step("add", partial(actors.add, tenant=tenant), 0)
    begun = [process.world.begin(one, step) for one in process.world.processes if one.is_started]
    process.scheduler.wait(lambda: all(one.ended or one.frozen for one in begun))


def _renew(process: Process, tenant: str, purpose: Purpose, patience: float) -> None:
    process.keyring.lifecycle.rotate_dek(tenant, purpose)
    if patience:
        process.scheduler.sleep(patience)
    chunk = process.world.random.randint(1, 5)
    Rekey(process.keyring, chunk=chunk, rate=None).run(_job(process, tenant))
    drop_retired(process.keyring, tenant)


def finish(process: Process) -> None:
    """Re-encrypt what is left, and destroy every retired DEK once no process can seal under it."""
    world, keyring = process.world, process.keyring
    report = Rekey(keyring, rate=None).run(_job(process, None))
    if report.damaged or report.refused or report.rows_left:
        world.fail(f"rows cannot be re-encrypted though all is healed: {report}")
    process.scheduler.sleep(LONGEST_USE + 120)
    kept = drop_retired(keyring).kept
    if kept and not world.shredded:
        world.fail(f"retired DEKs are kept though no row is under them: {kept}")


def _job(process: Process, tenant: str | None) -> Job:
    return Job.of(process.models.patient.__table__, tenant=tenant)
