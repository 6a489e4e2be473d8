"""Patients of several clinics. ``flask --app examples.flask_migrate.app run``, after ``db upgrade``."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, abort, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring, tenant_scope
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


def of_clinic(view: Callable[..., Any]) -> Callable[..., Any]:
    """Run a view in the scope of the request's tenant: here a header, in yours the signed-in user's."""

    @wraps(view)
    def scoped(**arguments: Any) -> Any:
        clinic = request.headers.get("X-Clinic") or abort(401)
        with tenant_scope(clinic):
            return view(clinic, **arguments)

    return scoped


def shown(patient: Patient) -> dict[str, Any]:
    return {"id": patient.id, "name": patient.name, "ssn": patient.ssn}


@patients.post("/patients")
@of_clinic
def admit(clinic: str) -> tuple[dict[str, Any], int]:
    patient = Patient(clinic_id=clinic, name=request.json["name"], ssn=request.json["ssn"])
    db.session.add(patient)
    db.session.commit()
    return shown(patient), 201


@patients.get("/patients")
@of_clinic
def find(clinic: str) -> list[dict[str, Any]]:
    """The clinic's patients by name: sealed names are sorted in Python, not by the database."""
    query = select(Patient).where(Patient.clinic_id == clinic)
    if "ssn" in request.args:
        query = query.where(Patient.ssn == request.args["ssn"])
    return [shown(one) for one in sorted(db.session.scalars(query), key=lambda one: one.name)]


@patients.get("/patients/<int:number>")
@of_clinic
def show(clinic: str, number: int) -> dict[str, Any]:
    query = select(Patient).where(Patient.clinic_id == clinic, Patient.id == number)
    return shown(db.one_or_404(query))


@patients.app_errorhandler(KeyRevoked)
def revoked(error: KeyRevoked) -> tuple[dict[str, Any], int]:
    return {"detail": "This clinic has switched its key off."}, 403


keys = LocalKeyProvider(os.environ.get("KEYS", "keys.json"))
keyring = Keyring(platform_key="local:pmk", providers=[keys])


def create_app(database: str | None = None) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = database or os.environ.get("DATABASE_URL", "sqlite:///clinics.db")
    db.init_app(app)
    keyring.init_app(app)
    migrate.init_app(app, db)
    app.register_blueprint(patients)
    return app
