"""Appointments of a clinic and of one patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from examples.clinic.models import Appointment, Patient
from examples.clinic.services.patients import NotValid

REASON = 200
SHOWN = 50


def coming(db: Session, clinic: str, now: datetime) -> Sequence[Any]:
    """Return a clinic's next appointments, each with its patient."""
    query = select(Appointment, Patient).join(Patient, Patient.id == Appointment.patient_id)
    here = (Appointment.clinic == clinic, Patient.clinic == clinic, Appointment.at >= now)
    return db.execute(query.where(*here).order_by(Appointment.at).limit(SHOWN)).all()


def of_patient(db: Session, patient: Patient) -> Sequence[Appointment]:
    mine = (Appointment.patient_id == patient.id, Appointment.clinic == patient.clinic)
    return db.scalars(select(Appointment).where(*mine).order_by(Appointment.at)).all()


def make(db: Session, patient: Patient, form: Mapping[str, str], now: datetime) -> None:
    """Add an appointment.

    Raises:
        NotValid: the time is none, or past, or the reason is missing or too long.
    """
    try:
        at = datetime.fromisoformat(form.get("at", ""))
    except ValueError:
        raise NotValid("Choose a day and a time.") from None
    reason = form.get("reason", "").strip()
    if at.tzinfo is not None or not now <= at < now + timedelta(days=3 * 365):
        raise NotValid("Choose a time within the next three years.")
    if not 0 < len(reason) <= REASON:
        raise NotValid(f"Type a reason of {REASON} characters at most.")
    db.add(Appointment(clinic=patient.clinic, patient_id=patient.id, at=at, reason=reason))
    db.commit()


def cancel(db: Session, clinic: str, appointment_id: int) -> int | None:
    """Delete an appointment; return its patient's id, or ``None`` if the clinic has no such one."""
    mine = (Appointment.id == appointment_id, Appointment.clinic == clinic)
    found = db.scalar(select(Appointment).where(*mine))
    if found is None:
        return None
    patient_id = found.patient_id
    db.delete(found)
    db.commit()
    return patient_id
