"""Patients of several clinics. ``fastapi dev examples/fastapi_sqlmodel/app.py``, once ``alembic`` has run."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from sqlalchemy import String
from sqlmodel import Field, Session, SQLModel, create_engine, select

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring, tenant_scope
from sqlalchemy_cmk.providers import LocalKeyProvider


class PatientIn(SQLModel):
    name: str = Field(sa_type=EncryptedType(String(80)))
    ssn: str = Field(sa_type=EncryptedType(String(11), deterministic=True))


class Patient(PatientIn, table=True):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic_id"

    id: int | None = Field(default=None, primary_key=True)
    clinic_id: str = Field(index=True, max_length=40)


engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///clinics.db"))
keys = LocalKeyProvider(os.environ.get("KEYS", "keys.json"))
keyring = Keyring(engine, platform_key="local:pmk", providers=[keys])
keyring.protect(SQLModel)
app = FastAPI()


async def clinic_of_request(x_clinic: Annotated[str, Header()]) -> AsyncIterator[str]:
    """The tenant of a request: here a header, in yours the signed-in user's. It has to be ``async def``."""
    with tenant_scope(x_clinic):
        yield x_clinic


def session_of_request() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


Clinic = Annotated[str, Depends(clinic_of_request)]
Database = Annotated[Session, Depends(session_of_request)]


@app.exception_handler(KeyRevoked)
def revoked(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "This clinic has switched its key off."}, 403)


@app.post("/patients", status_code=201)
def admit(patient: PatientIn, clinic: Clinic, session: Database) -> Patient:
    admitted = Patient(clinic_id=clinic, **patient.model_dump())
    session.add(admitted)
    session.commit()
    session.refresh(admitted)
    return admitted


@app.get("/patients")
def find(clinic: Clinic, session: Database, ssn: str | None = None) -> list[Patient]:
    """The clinic's patients by name: sealed names are sorted in Python, not by the database."""
    query = select(Patient).where(Patient.clinic_id == clinic)
    if ssn is not None:
        query = query.where(Patient.ssn == ssn)
    return sorted(session.exec(query), key=lambda one: one.name)


@app.get("/patients/{number}")
def show(number: int, clinic: Clinic, session: Database) -> Patient:
    query = select(Patient).where(Patient.clinic_id == clinic, Patient.id == number)
    patient = session.exec(query).one_or_none()
    if patient is None:
        raise HTTPException(404)
    return patient
