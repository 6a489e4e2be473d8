"""The calendar, and a patient's appointments."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from examples.clinic.services import appointments, patients
from examples.clinic.web.current import clinic, db, signed_in

pages = Blueprint("appointments", __name__)


@pages.get("/appointments")
@signed_in
def index() -> str:
    rows = appointments.coming(db(), clinic(), datetime.now())
    return render_template("appointments.html", rows=rows)


@pages.post("/patients/<int:number>/appointments")
@signed_in
def make(number: int) -> Any:
    patient = patients.one(db(), clinic(), number) or abort(404)
    try:
        appointments.make(db(), patient, request.form, datetime.now())
        flash("The appointment was made.")
    except patients.NotValid as error:
        flash(str(error), "problem")
    return redirect(url_for("patients.show", number=number), 303)


@pages.post("/appointments/<int:number>/cancel")
@signed_in
def cancel(number: int) -> Any:
    patient_id = appointments.cancel(db(), clinic(), number) or abort(404)
    flash("The appointment was cancelled.")
    return redirect(url_for("patients.show", number=patient_id), 303)
