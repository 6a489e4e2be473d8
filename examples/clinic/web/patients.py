"""The list of patients, the search, and one patient."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from examples.clinic.models import Patient
from examples.clinic.services import appointments, documents, patients
from examples.clinic.web.current import clinic, db, signed_in

pages = Blueprint("patients", __name__)


@pages.get("/patients")
@signed_in
def index() -> str:
    after = request.args.get("after", 0, int)
    size = request.args.get("size", patients.PAGE_SIZES[0], int)
    if size not in patients.PAGE_SIZES:
        abort(404)
    newest_first = request.args.get("order") == "newest"
    page = patients.listed(db(), clinic(), after=after, size=size, newest_first=newest_first)
    order = "newest" if newest_first else "oldest"
    return render_template("patients/list.html", page=page, size=size, order=order, after=after)


@pages.post("/patients/search")
@signed_in
def search() -> Any:
    """Search. By POST: what is looked for is in no address, no history and no server's log."""
    kind, text = request.form.get("kind", ""), request.form.get("text", "")
    try:
        rows = patients.found(db(), clinic(), kind, text)
    except patients.NotValid as error:
        return render_template("patients/found.html", problem=error, kind=kind, text=text, rows=[]), 422
    limit = patients.MOST_FOUND
    return render_template("patients/found.html", problem="", kind=kind, text=text, rows=rows, limit=limit)


@pages.route("/patients/new", methods=["GET", "POST"])
@signed_in
def add() -> Any:
    return _form(Patient(clinic=clinic()))


@pages.get("/patients/<int:number>")
@signed_in
def show(number: int) -> str:
    patient = _patient(number)
    return render_template(
        "patients/show.html",
        patient=patient,
        appointments=appointments.of_patient(db(), patient),
        documents=documents.of_patient(db(), patient),
        now=datetime.now(),
    )


@pages.route("/patients/<int:number>/edit", methods=["GET", "POST"])
@signed_in
def edit(number: int) -> Any:
    return _form(_patient(number))


@pages.route("/patients/<int:number>/delete", methods=["GET", "POST"])
@signed_in
def remove(number: int) -> Any:
    patient = _patient(number)
    if request.method == "GET":
        return render_template("patients/delete.html", patient=patient)
    patients.remove(db(), patient)
    flash("The patient was deleted.")
    return redirect(url_for("patients.index"), 303)


def _form(patient: Patient) -> Any:
    new = patient.id is None
    if request.method == "POST":
        try:
            patients.save(db(), patient, request.form)
        except patients.NotValid as error:
            db().rollback()
            page = render_template(
                "patients/form.html", patient=patient, problem=error, new=new, values=request.form
            )
            return page, 422
        flash("The patient was added." if new else "The patient was saved.")
        return redirect(url_for("patients.show", number=patient.id), 303)
    names = ("name", "number", "born", "notes")
    values = {} if new else {name: getattr(patient, name) for name in names}
    return render_template(
        "patients/form.html", patient=patient, problem="", new=new, values=values, today=date.today()
    )


def _patient(number: int) -> Patient:
    """Return a patient of the clinic of the person who is signed in; another clinic's is not there."""
    return patients.one(db(), clinic(), number) or abort(404)
