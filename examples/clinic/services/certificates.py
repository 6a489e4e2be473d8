"""Certificates of what was done with a clinic's keys, kept as files for the clinic to fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.clinic.storage import Storage
from sqlalchemy_cmk.certificates import Certificate, recording, verify
from sqlalchemy_cmk.certificates.signed import fingerprint_of


@contextmanager
def certified(storage: Storage, tenant: str, operation: str) -> Iterator[None]:
    """Certify what a block does with a tenant's keys."""
    with recording(storage.keyring, tenant, operation) as recorded:
        yield
    made = recorded.certificate
    folder = _folder(storage, tenant)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made.write(folder / f"{made.certificate.id}.json")


def certificates(storage: Storage, tenant: str) -> list[Certificate]:
    """Return a tenant's certificates, the newest first."""
    found = [verify(one.read_bytes()).certificate for one in _folder(storage, tenant).glob("*.json")]
    return sorted(found, key=lambda one: one.after.until, reverse=True)


def certificate_file(storage: Storage, tenant: str, number: str) -> Path | None:
    """Return the file of one of a tenant's certificates; ``None`` if there is none of this id."""
    known = {one.stem: one for one in _folder(storage, tenant).glob("*.json")}
    return known.get(number)


def fingerprint(storage: Storage) -> str:
    """Return the fingerprint of the key that signs certificates, for the clinics to know."""
    key = storage.keyring.certificate_key
    assert key is not None
    return fingerprint_of(key.public())


def _folder(storage: Storage, tenant: str) -> Path:
    return storage.folder / "certificates" / tenant
