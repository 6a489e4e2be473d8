"""Patients of several clinics. ``fastapi dev examples/fastapi_asyncpg/app.py``, once ``alembic`` has run."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring, tenant_scope
from sqlalchemy_cmk.providers import LocalKeyProvider


class Base(DeclarativeBase):
    pass


class Patient(Base):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic_id"

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic_id: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(EncryptedType(String(80)))
    ssn: Mapped[str] = mapped_column(EncryptedType(String(11), deterministic=True))


engine = create_async_engine(os.environ.get("DATABASE_URL", "postgresql+asyncpg:///clinics"))
keys = LocalKeyProvider(os.environ.get("KEYS", "keys.json"))
keyring = Keyring(engine, platform_key="local:pmk", providers=[keys])
keyring.protect(Base)
make_session = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    keyring.close()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


class PatientIn(BaseModel):
    name: str
    ssn: str


class PatientOut(PatientIn):
    model_config = ConfigDict(from_attributes=True)
    id: int


async def clinic_of_request(x_clinic: Annotated[str, Header()]) -> AsyncIterator[str]:
    """The tenant of a request: here a header, in yours the signed-in user's."""
    with tenant_scope(x_clinic):
        yield x_clinic


async def session_of_request() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


Clinic = Annotated[str, Depends(clinic_of_request)]
Database = Annotated[AsyncSession, Depends(session_of_request)]


@app.exception_handler(KeyRevoked)
async def revoked(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "This clinic has switched its key off."}, 403)


@app.post("/patients", status_code=201)
async def admit(patient: PatientIn, clinic: Clinic, session: Database) -> PatientOut:
    admitted = Patient(clinic_id=clinic, **patient.model_dump())
    session.add(admitted)
    await session.commit()
    return PatientOut.model_validate(admitted)


@app.get("/patients")
async def find(clinic: Clinic, session: Database, ssn: str | None = None) -> list[PatientOut]:
    """The clinic's patients by name: sealed names are sorted in Python, not by the database."""
    query = select(Patient).where(Patient.clinic_id == clinic)
    if ssn is not None:
        query = query.where(Patient.ssn == ssn)
    found = (await session.scalars(query)).all()
    return [PatientOut.model_validate(one) for one in sorted(found, key=lambda one: one.name)]


@app.get("/patients/{number}")
async def show(number: int, clinic: Clinic, session: Database) -> PatientOut:
    query = select(Patient).where(Patient.clinic_id == clinic, Patient.id == number)
    patient = (await session.scalars(query)).one_or_none()
    if patient is None:
        raise HTTPException(404)
    return PatientOut.model_validate(patient)
