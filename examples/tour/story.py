"""The story: each chapter does one thing to a clinic and its keys, and says what came of it.

The clinic is that of ``examples.clinic``, empty and in a folder of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from queue import SimpleQueue

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from examples.clinic.models import Patient
from examples.clinic.services.certificates import certificate_file, certificates, certified, fingerprint
from examples.clinic.services.keys import jobs
from examples.clinic.storage import Storage
from sqlalchemy_cmk import ApprovalRequired, KeyEvent, KeyLocked, KeyRevoked
from sqlalchemy_cmk.certificates import verify
from sqlalchemy_cmk.format import parse_header
from sqlalchemy_cmk.impact import impact_of
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.model import TenantStatus
from sqlalchemy_cmk.rekey import Rekey

CLINIC = "riverside"
SOON = 60  # seconds
NAMES = ("Lovelace, Ada", "Hopper, Grace", "Lamarr, Hedy", "Noether, Emmy", "Franklin, Rosalind")


_told: SimpleQueue[KeyEvent] = SimpleQueue()


@dataclass(frozen=True)
class Chapter:
    """A part of the story.

    Attributes:
        title: what is done.
        why: why anybody would.
        work: does it, and returns what came of it, a line each.
    """

    title: str
    why: str
    work: Callable[[Storage], Sequence[str]]


def create(storage: Storage) -> Sequence[str]:
    storage.prepare()
    storage.keyring.warm([CLINIC], new=True)
    return [f"{CLINIC} has a DEK, wrapped by {_line(storage).kek_uri}."]


def seal(storage: Storage) -> Sequence[str]:
    with Session(storage.engine) as session:
        for number, name in enumerate(NAMES, 1):
            born = date(1900 + number, 12, 10)
            row = {"name": name, "number": f"900-01-{number:04}", "born": born, "notes": "Healthy."}
            session.add(Patient(clinic=CLINIC, **row))
        session.commit()
    return [f"{len(NAMES)} patients were added by session.add(Patient(...)): no word of keys in that line."]


def look_at_the_row(storage: Storage) -> Sequence[str]:
    with storage.engine.connect() as connection:
        stored = bytes(connection.execute(text("SELECT name FROM patients LIMIT 1")).scalar_one())
    suite, dek_id = parse_header(stored)
    return [
        f"name = {stored.hex()}",
        f"{stored[:1].hex()} is {suite.name}, {dek_id.hex()} the DEK; the rest is nonce, value and tag.",
    ]


def search(storage: Storage) -> Sequence[str]:
    asked = {
        "name.istartswith('lo')": Patient.name.istartswith("lo"),
        "name.icontains('opper')": Patient.name.icontains("opper"),
        "number == '900-01-0003'": Patient.number == "900-01-0003",
        "born.between(1904, 1905)": Patient.born.between(date(1904, 1, 1), date(1905, 12, 31)),
    }
    found = []
    with Session(storage.engine) as session:
        for words, condition in asked.items():
            rows = session.scalars(select(Patient).where(Patient.clinic == CLINIC, condition))
            found.append(f"{words}: {'; '.join(row.name for row in rows)}")
    return found


def bring_a_key(storage: Storage) -> Sequence[str]:
    kek_uri = storage.vaults[CLINIC].kek_uri
    report = storage.keyring.onboarding(CLINIC, kek_uri).check()
    steps = "; ".join(step.name for step in report.steps if step.state == "ok")
    return [f"{kek_uri} is {'fit' if report.ok else 'not fit'}: {steps}.", "Nothing was changed by looking."]


def take_the_key(storage: Storage) -> Sequence[str]:
    before = _stored(storage)
    storage.keyring.assign(CLINIC, storage.vaults[CLINIC].kek_uri)
    touched = sum(one != other for one, other in zip(before, _stored(storage), strict=True))
    return [f"{_line(storage).kek_uri} wraps the DEKs now; {touched} rows were touched."]


def rotate_the_kek(storage: Storage) -> Sequence[str]:
    storage.vaults[CLINIC].change("rotate")
    report = storage.keyring.lifecycle.rewrap(CLINIC)
    return [f"The vault made a new version; {report.rewrapped} DEKs were wrapped by it. No row was touched."]


def re_encrypt(storage: Storage) -> Sequence[str]:
    before = _deks(storage)
    with certified(storage, CLINIC, "rotate and re-encrypt"):
        storage.keyring.lifecycle.rotate_dek(CLINIC)
        changed = sum(Rekey(storage.keyring).run(job).rows_changed for job in jobs(CLINIC))
    (old,), (new,) = before, _deks(storage)
    return [f"{changed} rows went from DEK {old.hex()} to {new.hex()}, while the application could go on."]


def prove(storage: Storage) -> Sequence[str]:
    (made,) = certificates(storage, CLINIC)
    path = certificate_file(storage, CLINIC, made.id)
    assert path is not None
    # What the customer does, with the file and the fingerprint and nothing else.
    found = verify(path.read_bytes(), fingerprint=fingerprint(storage)).certificate
    old, new = found.after.under("retired"), found.after.under("active")
    return [f"{found.operation} by {found.actor}: {new} values under the new DEK, {old} under old ones."]


def lock(storage: Storage) -> Sequence[str]:
    keyring = storage.keyring
    with keyring.because("case 4711", actor="security@riverside.example"):
        keyring.lock(CLINIC, reason="a laptop was stolen")
        try:
            _names(storage)
        except KeyLocked as error:
            said = [f"KeyLocked: {error}"]
        else:
            raise AssertionError("a patient was read although the clinic was locked")
        _approved(storage, lambda: keyring.unlock(CLINIC))
    (noted,) = (one for one in keyring.audit.entries(CLINIC) if one.event == EventKind.UNLOCK)
    return [*said, f"Unlocked again; the trail has: {noted.event} by {noted.actor}, {noted.detail}."]


def look_before(storage: Storage) -> Sequence[str]:
    impact = impact_of(storage.keyring, CLINIC, exact=True)
    values = [
        f"{table.name}.{one.name}: {one.values.rows}"
        for table in impact.tables
        for one in table.columns
        if one.values.rows
    ]
    return [f"Values that nobody could open: {'; '.join(values)}.", *impact.remains[:1]]


def revoke(storage: Storage) -> Sequence[str]:
    storage.keyring.on_event(_told.put, "revoked", "restored")
    storage.vaults[CLINIC].change("disable")
    storage.keyring.forget(CLINIC)  # as happens by itself, within revalidate_after
    bound = storage.keyring.revalidate_after
    return [f"The customer disabled the key in their vault. Every process stops within {bound:.0f} seconds."]


def be_refused(storage: Storage) -> Sequence[str]:
    try:
        _names(storage)
    except KeyRevoked as error:
        said = f"KeyRevoked: {error}"
        return [said, "Search, writes and exports are refused alike; other clinics go on.", _announced()]
    raise AssertionError("a patient was read although the key is switched off")


def restore(storage: Storage) -> Sequence[str]:
    storage.vaults[CLINIC].change("enable")
    storage.keyring.forget(CLINIC)
    names = "; ".join(_names(storage))
    return [f"The key is on, and the rows are read again: {names}.", _announced()]


def shred(storage: Storage) -> Sequence[str]:
    with storage.keyring.because("end of contract", actor="security@riverside.example"):
        said = _approved(storage, lambda: storage.keyring.lifecycle.shred(CLINIC, confirm=CLINIC))
    try:
        _names(storage)
    except KeyRevoked as error:
        rows = len(_stored(storage))
        return [*said, f"{rows} rows are still there, and nobody can open them: {error}"]
    raise AssertionError("a patient was read although the keys were destroyed")


CHAPTERS = (
    Chapter("Create", "Each customer has data keys (DEKs), which another key (a KEK) wraps.", create),
    Chapter("Seal", "The models say EncryptedType; the code stays as it was.", seal),
    Chapter("Look at the raw row", "This is what the database, a backup and a thief have.", look_at_the_row),
    Chapter("Search", "Indexes answer what was declared, without the plain values.", search),
    Chapter("Bring a key", "The customer's key is looked at before anything depends on it.", bring_a_key),
    Chapter("Switch to the customer's key", "It takes one line, keyring.assign(...).", take_the_key),
    Chapter("Rotate the KEK", "As the vault's policy asks for, once a year.", rotate_the_kek),
    Chapter("Re-encrypt", "A DEK may have leaked: the rows get a new one.", re_encrypt),
    Chapter("Prove it", "A certificate says what was done; anyone verifies it, without the database.", prove),
    Chapter("Lock now", "Something has happened: the keys are closed, whatever the vault says.", lock),
    Chapter("Look before you switch it off", "What would stop, and what a revocation leaves.", look_before),
    Chapter("Revoke", "The customer switches the key off.", revoke),
    Chapter("Be refused", "Nothing that the key sealed can be read.", be_refused),
    Chapter("Restore", "The customer switches it on again.", restore),
    Chapter("Shred", "The customer leaves: every wrapping is destroyed.", shred),
)  # fmt: skip


def _announced() -> str:
    """Say what a callback of the application was told of, a moment later."""
    event = _told.get(timeout=SOON)
    return f"Announced: {event.kind}, {event.kek_uri}."


def _approved(storage: Storage, work: Callable[[], object]) -> Sequence[str]:
    """Do what takes two people: one asks, the other approves, and it is done."""
    keyring = storage.keyring
    try:
        work()
    except ApprovalRequired as error:
        with keyring.because("they have called us", actor="keys@operations.example"):
            request = keyring.approvals.approve(error.request)
        work()
        return [f"{request.requested_by} asked to {request.operation}, {request.decided_by} approved."]
    raise AssertionError("one person alone has done what takes two")


def _line(storage: Storage) -> TenantStatus:
    return storage.keyring.status([CLINIC])[0]


def _names(storage: Storage) -> list[str]:
    with Session(storage.engine) as session:
        return [row.name for row in session.scalars(select(Patient).where(Patient.clinic == CLINIC))]


def _stored(storage: Storage) -> list[bytes]:
    with storage.engine.connect() as connection:
        return [bytes(one) for one in connection.scalars(text("SELECT name FROM patients ORDER BY id"))]


def _deks(storage: Storage) -> set[bytes]:
    return {parse_header(one)[1] for one in _stored(storage)}
