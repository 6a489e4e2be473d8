"""The pages."""

import secrets
from datetime import date
from typing import Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, session, url_for
from sqlalchemy import LargeBinary, select, type_coerce
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from examples.clinic.keys import CLINICS, OWN_KEYS, Storage
from examples.clinic.models import SEALED_COLUMNS, Patient
from sqlalchemy_cmk import InvalidValue, KeyRevoked, Sealed, tenant_scope

pages = Blueprint("pages", __name__)


def storage() -> Storage:
    found: Storage = current_app.extensions["clinic"]
    return found


@pages.app_template_test()
def sealed(value: object) -> bool:
    return isinstance(value, Sealed)


@pages.before_request
def check_token() -> None:
    """Refuse a form that this application did not give out."""
    token = session.setdefault("token", secrets.token_urlsafe(16))
    if request.method == "POST" and not secrets.compare_digest(request.form.get("token", ""), token):
        abort(400)
    if request.view_args and request.view_args.get("clinic", next(iter(CLINICS))) not in CLINICS:
        abort(404)


@pages.get("/")
def start() -> Response:
    return redirect(url_for("pages.patients", clinic=next(iter(CLINICS))))


@pages.get("/<clinic>/patients")
def patients(clinic: str) -> str:
    with Session(storage().engine) as db, tenant_scope(clinic):
        rows = db.scalars(select(Patient).where(Patient.clinic == clinic).order_by(Patient.id)).all()
    return render_template("patients.html", clinic=clinic, patients=rows)


@pages.route("/<clinic>/patients/new", methods=["GET", "POST"])
def add(clinic: str) -> Any:
    return _form(clinic, Patient(clinic=clinic, history=[]))


@pages.route("/<clinic>/patients/<int:number>", methods=["GET", "POST"])
def edit(clinic: str, number: int) -> Any:
    with Session(storage().engine) as db, tenant_scope(clinic):
        patient = db.scalar(select(Patient).where(Patient.id == number, Patient.clinic == clinic))
    if patient is None:
        abort(404)
    if any(sealed(getattr(patient, name)) for name in SEALED_COLUMNS):
        return render_template("patients.html", clinic=clinic, patients=[patient]), 503
    return _form(clinic, patient)


def _form(clinic: str, patient: Patient) -> Any:
    problem = _save(clinic, patient) if request.method == "POST" else ""
    if request.method == "POST" and not problem:
        return redirect(url_for("pages.patients", clinic=clinic))
    page = render_template("form.html", clinic=clinic, patient=patient, problem=problem, form=request.form)
    return page, 422 if problem else 200


def _save(clinic: str, patient: Patient) -> str:
    """Write the form into a patient; return what is wrong with it, if anything is."""
    try:
        patient.name, patient.ssn = request.form["name"].strip(), request.form["ssn"].strip()
        patient.email, patient.born = request.form["email"].strip(), date.fromisoformat(request.form["born"])
        patient.history = [line.strip() for line in request.form["history"].splitlines() if line.strip()]
    except ValueError:
        return "The date of birth is not a date."
    if not (patient.name and patient.ssn and patient.email):
        return "Name, number and e-mail are needed."
    try:
        with Session(storage().engine) as db, tenant_scope(clinic):
            db.add(patient)
            db.commit()
    except InvalidValue as error:
        return str(error)
    except IntegrityError:
        return "Another patient of this clinic has this e-mail address."
    except KeyRevoked:
        return "The clinic has switched its key off: nothing can be saved."
    return ""


@pages.get("/database")
def database() -> str:
    """Show the stored bytes beside what they open to."""
    columns = (getattr(Patient, name) for name in SEALED_COLUMNS)
    stored = select(Patient.id, *(type_coerce(column, LargeBinary) for column in columns))
    with Session(storage().engine) as db:
        opened = db.scalars(select(Patient).order_by(Patient.clinic, Patient.id)).all()
        raw = {row[0]: dict(zip(SEALED_COLUMNS, row[1:], strict=True)) for row in db.execute(stored)}
    return render_template("database.html", patients=opened, raw=raw, columns=SEALED_COLUMNS)


@pages.get("/keys")
def keys() -> str:
    return render_template("keys.html", status=storage().keyring.status(), own=OWN_KEYS)


@pages.post("/keys/<clinic>/<any(on, off):switch>")
def switch_key(clinic: str, switch: str) -> Response:
    if clinic not in OWN_KEYS:
        abort(404)
    storage().switch(clinic, switch == "on")
    return redirect(url_for("pages.keys"))
