"""Fills an empty database with invented people."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash

from examples.clinic.clinics import CLINICS, OPERATIONS, TENANTS
from examples.clinic.models import Appointment, Patient, Staff
from examples.clinic.people import LETTER, People
from examples.clinic.services import documents
from examples.clinic.storage import Storage

# Of everybody in the demonstration, and shown where they sign in.
PASSWORD = "open sesame 2026"
PATIENTS = {"riverside": 120, "hillside": 100, "lakeside": 60}
AGES = {"lakeside": (0, 16)}
ADULTS = (17, 96)
APPOINTMENTS = 30


def shown_accounts() -> list[tuple[str, str, str]]:
    """Return who can sign in to the demonstration: tenant, role and e-mail address."""
    roles = (("reception", "patients and appointments"), ("security", "patients and the clinic's key"))
    staff = [(clinic, role, f"{who}@{clinic}.example") for clinic in CLINICS for who, role in roles]
    return [*staff, (OPERATIONS, "every clinic's keys, no patients", f"keys@{OPERATIONS}.example")]


def seed(storage: Storage) -> None:
    """Fill a database in which nobody may sign in."""
    with Session(storage.engine) as db:
        if db.scalar(select(func.count()).select_from(Staff)):
            return
        password = generate_password_hash(PASSWORD)
        for clinic, role, email in shown_accounts():
            officer = "key" in role
            name = f"{email.partition('@')[0].title()}, {TENANTS[clinic]}"
            db.add(Staff(clinic=clinic, email=email, name=name, password=password, officer=officer))
        for clinic, count in PATIENTS.items():
            _fill(db, clinic, count)
        db.commit()


def _fill(db: Session, clinic: str, count: int) -> None:
    people = People(clinic, AGES.get(clinic, ADULTS))
    patients = [
        Patient(
            clinic=clinic,
            name=people.name(),
            number=people.number(),
            born=people.born(),
            notes=people.notes(),
        )
        for _ in range(count)
    ]
    db.add_all(patients)
    db.flush()
    for patient in patients[:APPOINTMENTS]:
        at, reason = people.appointment(datetime.now())
        db.add(Appointment(clinic=clinic, patient_id=patient.id, at=at, reason=reason))
    first = patients[0]
    letter = LETTER.format(name=first.name, born=first.born)
    documents.keep(db, first, "Discharge letter", BytesIO(letter.encode()))
