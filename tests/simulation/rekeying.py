"""Workers that move rows to the active DEKs while the application writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy_cmk.keys.lifecycle.dropping import CLOCKS_APART
from sqlalchemy_cmk.rekey import Job, Rekey
from sqlalchemy_cmk.rekey.dropping import drop_retired
from tests.simulation import life
from tests.simulation.process import LONGEST_USE

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
    process.keyring.lifecycle.rotate_dek(tenant, purpose)
    Rekey(process.keyring, chunk=random.randint(1, 5), rate=None).run(_job(process, tenant))
    drop_retired(process.keyring, tenant)


def renew_patiently(process: Process) -> None:
    """The same by an operator who waits for as long as such processes seal under the old DEK."""
    random = process.world.random
    tenant, purpose = random.choice(process.world.tenants), random.choice(life.PURPOSES)
    process.keyring.lifecycle.rotate_dek(tenant, purpose)
    process.scheduler.sleep(process.settings.longest_use + CLOCKS_APART + 20)
    Rekey(process.keyring, chunk=random.randint(1, 5), rate=None).run(_job(process, tenant))
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
