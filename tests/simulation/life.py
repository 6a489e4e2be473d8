"""What operators do to keys while the application runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy_cmk.keys.model import Purpose

if TYPE_CHECKING:
    from tests.simulation.process import Process

PURPOSES = (Purpose.RANDOMIZED, Purpose.DETERMINISTIC)


def warm(process: Process) -> None:
    """Open a clinic's keys, or make them."""
    process.keyring.warm([_tenant(process)], PURPOSES, new=True)


def assign(process: Process) -> None:
    """Give a clinic a KEK of its own, another one, or the platform's."""
    random = process.world.random
    process.keyring.assign(_tenant(process), _kek(process), fresh_dek=random.random() < 0.3)


def add_wrapping(process: Process) -> None:
    """Have a second KEK open a clinic's keys."""
    process.keyring.lifecycle.add_wrapping(_tenant(process), _kek(process))


def drop_wrapping(process: Process) -> None:
    """Take a KEK's wrappings away."""
    process.keyring.lifecycle.drop_wrapping(_tenant(process), _kek(process))


def rotate_dek(process: Process) -> None:
    """Seal new values under a new DEK."""
    process.keyring.lifecycle.rotate_dek(_tenant(process), process.world.random.choice(PURPOSES))


def rewrap(process: Process) -> None:
    """Wrap by the newest versions of the KEKs."""
    process.keyring.lifecycle.rewrap(process.world.random.choice([None, *process.world.tenants]))


def set_grace(process: Process) -> None:
    """Have a clinic's keys ride out an outage for longer, or not at all."""
    grace = process.world.random.choice((None, 0, 1200, 3600))
    process.keyring.lifecycle.set_grace(_tenant(process), grace)


def rotate_record_key(process: Process) -> None:
    """Put a new record key before the others, authenticate all by it, and take the others away.

    A process that has read them before may write for a moment still: so all is looked at again.
    """
    keys, new = process.world.record_keys, process.world.randomness.randbytes(32)
    keys.insert(0, new)
    process.keyring.record_key.rotate()
    process.scheduler.sleep(60)
    process.keyring.record_key.rotate()
    if new in keys:  # a later rotation has not taken it away with the others
        del keys[keys.index(new) + 1 :]


def shred(process: Process) -> None:
    """Destroy a clinic's keys, where no other was shredded yet: the rest shall have something to do."""
    if process.world.shredded:
        return
    tenant = process.world.shredded = _tenant(process)
    process.keyring.lifecycle.shred(tenant, confirm=tenant)


def notice_rotations(process: Process) -> None:
    """Look up which DEKs others have retired."""
    process.keyring.notice_rotations()


def forget(process: Process) -> None:
    """Drop opened DEKs."""
    process.keyring.forget(process.world.random.choice([None, *process.world.tenants]))


def look(process: Process) -> None:
    """Look at the status, and verify the trail."""
    process.keyring.status()
    verdict = process.keyring.audit.verify()
    if verdict.problems:
        process.world.fail(f"the audit trail does not verify: {verdict.problems}")


def _tenant(process: Process) -> str:
    return process.world.random.choice(process.world.tenants)


def _kek(process: Process) -> str:
    return process.world.random.choice(sorted(process.world.vault.keks))
