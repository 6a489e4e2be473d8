"""Patients of several clinics. ``flask --app examples.flask_migrate.app run``, after ``db upgrade``."""

import os
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, abort, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.flask import CMK, health
from sqlalchemy_cmk.providers import LocalKeyProvider


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
migrate = Migrate(directory=str(Path(__file__).parent / "migrations"))
patients = Blueprint("patients", __name__)


class Patient(db.Model):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic_id"

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic_id: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(EncryptedType(String(80)))
    ssn: Mapped[str] = mapped_column(EncryptedType(String(11), deterministic=True))


def clinic_of_request() -> str | None:
    """The request's tenant: here a header, in yours the signed-in user's."""
    return request.headers.get("X-Clinic")


@patients.before_request
def require_clinic() -> None:
    if clinic_of_request() is None:
        abort(401)


def shown(patient: Patient) -> dict[str, Any]:
    return {"id": patient.id, "name": patient.name, "ssn": patient.ssn}


@patients.post("/patients")
def admit() -> tuple[dict[str, Any], int]:
    patient = Patient(clinic_id=clinic_of_request(), name=request.json["name"], ssn=request.json["ssn"])
    db.session.add(patient)
    db.session.commit()
    return shown(patient), 201


@patients.get("/patients")
def find() -> list[dict[str, Any]]:
    """The clinic's patients by name: sealed names are sorted in Python, not by the database."""
    query = select(Patient).where(Patient.clinic_id == clinic_of_request())
    if "ssn" in request.args:
        query = query.where(Patient.ssn == request.args["ssn"])
    return [shown(one) for one in sorted(db.session.scalars(query), key=lambda one: one.name)]


@patients.get("/patients/<int:number>")
def show(number: int) -> dict[str, Any]:
    return shown(db.get_or_404(Patient, number))  # another clinic's is a 404 too


keys = LocalKeyProvider(os.environ.get("KEYS", "keys.json"))
keyring = Keyring(platform_key="local:pmk", providers=[keys])
cmk = CMK(keyring=keyring, tenant=clinic_of_request)


def create_app(database: str | None = None) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = database or os.environ.get("DATABASE_URL", "sqlite:///clinics.db")
    db.init_app(app)
    cmk.init_app(app)
    migrate.init_app(app, db)
    app.register_blueprint(patients)
    app.register_blueprint(health)
    return app
