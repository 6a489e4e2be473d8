"""Invented patients, the same at each first start."""

from faker import Faker
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from examples.clinic.keys import CLINICS, Storage
from examples.clinic.models import Patient

PATIENTS = 12


def seed(storage: Storage) -> None:
    """Fill an empty database."""
    with Session(storage.engine) as session:
        if session.scalar(select(func.count()).select_from(Patient)):
            return
        fake = Faker()
        fake.seed_instance(20261124)
        session.add_all(_patient(fake, clinic) for clinic in CLINICS for _ in range(PATIENTS))
        session.commit()


def _patient(fake: Faker, clinic: str) -> Patient:
    return Patient(
        clinic=clinic,
        name=fake.name(),
        ssn=fake.ssn(),
        email=fake.unique.email(),
        born=fake.date_of_birth(minimum_age=1, maximum_age=95),
        history=[fake.sentence(nb_words=6) for _ in range(fake.random_int(1, 3))],
    )
