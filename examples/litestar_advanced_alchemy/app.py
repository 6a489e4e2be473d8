"""Patients of several clinics. ``litestar --app examples.litestar_advanced_alchemy.app:app run``."""

import os
from dataclasses import dataclass
from pathlib import Path

from advanced_alchemy.config import AlembicAsyncConfig
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin, base, repository
from litestar import Litestar, Request, Response, get, post
from litestar.di import Provide
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring, tenant_scope
from sqlalchemy_cmk.providers import LocalKeyProvider

HERE = Path(__file__).parent


class Patient(base.BigIntBase):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic_id"

    clinic_id: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(EncryptedType(String(80)))
    ssn: Mapped[str] = mapped_column(EncryptedType(String(11), deterministic=True))


class Patients(repository.SQLAlchemyAsyncRepository[Patient]):
    model_type = Patient


config = SQLAlchemyAsyncConfig(
    connection_string=os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///clinics.db"),
    metadata=Patient.metadata,
    # From the command line, `litestar database upgrade` reads the same.
    alembic_config=AlembicAsyncConfig(
        script_config=str(HERE / "alembic.ini"),
        script_location=os.environ.get("MIGRATIONS", str(HERE / "migrations")),
    ),
)
keys = LocalKeyProvider(os.environ.get("KEYS", "keys.json"))
keyring = Keyring(config.get_engine(), platform_key="local:pmk", providers=[keys])
keyring.protect(Patient)


class ClinicMiddleware(ASGIMiddleware):
    """Enters the tenant's scope around a request: here by a header, in yours by the signed-in user."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        clinic = Request(scope).headers.get("X-Clinic")
        if not clinic:
            raise NotAuthorizedException
        scope["state"]["clinic"] = clinic
        with tenant_scope(clinic):
            await next_app(scope, receive, send)


@dataclass
class PatientIn:
    name: str
    ssn: str


@dataclass
class PatientOut(PatientIn):
    id: int


def clinic_of_request(request: Request) -> str:
    return request.state.clinic


def shown(patient: Patient) -> PatientOut:
    return PatientOut(patient.name, patient.ssn, patient.id)


@post("/patients")
async def admit(data: PatientIn, clinic: str, db_session: AsyncSession) -> PatientOut:
    patient = Patient(clinic_id=clinic, name=data.name, ssn=data.ssn)
    return shown(await Patients(session=db_session).add(patient, auto_commit=True))


@get("/patients")
async def find(clinic: str, db_session: AsyncSession, ssn: str | None = None) -> list[PatientOut]:
    """The clinic's patients by name: sealed names are sorted in Python, not by the database."""
    wanted = {} if ssn is None else {"ssn": ssn}
    found = await Patients(session=db_session).list(clinic_id=clinic, **wanted)
    return sorted(map(shown, found), key=lambda one: one.name)


@get("/patients/{number:int}")
async def show(number: int, clinic: str, db_session: AsyncSession) -> PatientOut:
    patient = await Patients(session=db_session).get_one_or_none(id=number, clinic_id=clinic)
    if patient is None:
        raise NotFoundException
    return shown(patient)


def revoked(request: Request, error: KeyRevoked) -> Response:
    return Response({"detail": "This clinic has switched its key off."}, status_code=403)


app = Litestar(
    [admit, find, show],
    dependencies={"clinic": Provide(clinic_of_request, sync_to_thread=False)},
    plugins=[SQLAlchemyPlugin(config=config)],
    middleware=[ClinicMiddleware()],
    exception_handlers={KeyRevoked: revoked},
    on_shutdown=[keyring.close],
)
