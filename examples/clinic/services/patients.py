"""Patients: pages of the list, search by the sealed columns' indexes, and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, load_only

from examples.clinic.models import NEWEST, OLDEST, Appointment, Document, DocumentPart, Patient

PAGE_SIZES = (25, 100)
# What a list shows, and what these values are bound to: nothing else is read, and nothing else opened.
LISTED = load_only(Patient.name, Patient.number, Patient.born, Patient.ref, Patient.clinic)
MOST_FOUND = 50
NAME, NUMBER, NOTES = 80, 11, 2000


class NotValid(ValueError):
    """What was typed cannot be kept; the message is for the person who typed it."""


@dataclass(frozen=True)
class Page:
    """A page of the list, and the ids at which its neighbours begin, if there are any."""

    patients: Sequence[Patient]
    total: int
    next: int | None


def listed(db: Session, clinic: str, *, after: int, size: int, newest_first: bool) -> Page:
    """Return a page in the order in which patients were added: the database cannot sort what is sealed.

    Args:
        after: the id of the last patient on the page before; 0 for the first page.
    """
    key = Patient.id.desc() if newest_first else Patient.id
    query = select(Patient).options(LISTED).where(Patient.clinic == clinic).order_by(key).limit(size + 1)
    if after:
        query = query.where(Patient.id < after if newest_first else Patient.id > after)
    rows = db.scalars(query).all()
    total = db.scalar(select(func.count()).select_from(Patient).where(Patient.clinic == clinic)) or 0
    return Page(rows[:size], total, rows[size - 1].id if len(rows) > size else None)


def found(db: Session, clinic: str, kind: str, text: str) -> Sequence[Patient]:
    """Return the patients of whom something is so.

    Args:
        kind: one of :data:`QUESTIONS`.
        text: what was typed.

    Raises:
        NotValid: that cannot be asked.
    """
    if kind not in QUESTIONS or not text.strip():
        raise NotValid("Type what to look for.")
    condition = QUESTIONS[kind](text.strip())
    query = select(Patient).options(LISTED).where(Patient.clinic == clinic, condition).order_by(Patient.id)
    return db.scalars(query.limit(MOST_FOUND)).all()


def one(db: Session, clinic: str, patient_id: int) -> Patient | None:
    return db.scalar(select(Patient).where(Patient.id == patient_id, Patient.clinic == clinic))


def save(db: Session, patient: Patient, form: Mapping[str, str]) -> None:
    """Write a form into a patient, new or not.

    Raises:
        NotValid: something in it is missing, too long, or another patient's.
    """
    patient.name = _text(form, "name", "a name", NAME)
    patient.number = _text(form, "number", "a number", NUMBER)
    patient.notes = _text(form, "notes", "notes", NOTES, needed=False)
    patient.born = _born(form.get("born", ""))
    db.add(patient)
    try:
        db.commit()
    except IntegrityError:
        db.rollback()
        raise NotValid("Another patient has this number.") from None


def remove(db: Session, patient: Patient) -> None:
    """Delete a patient with all that belongs to them."""
    documents = select(Document.id).where(Document.patient_id == patient.id)
    db.execute(delete(DocumentPart).where(DocumentPart.document_id.in_(documents)))
    db.execute(delete(Document).where(Document.patient_id == patient.id))
    db.execute(delete(Appointment).where(Appointment.patient_id == patient.id))
    db.delete(patient)
    db.commit()


def _text(form: Mapping[str, str], field: str, what: str, longest: int, *, needed: bool = True) -> str:
    text = form.get(field, "").strip()
    if needed and not text:
        raise NotValid(f"Type {what}.")
    if len(text) > longest:
        raise NotValid(f"Type {what} of {longest} characters at most: these are {len(text)}.")
    return text


def _born(text: str) -> date:
    try:
        born = date.fromisoformat(text)
    except ValueError:
        raise NotValid("Type a date of birth.") from None
    if not OLDEST <= born <= min(date.today(), NEWEST):
        raise NotValid("Type a date of birth since 1900 that is not in the future.")
    return born


def _year(text: str) -> ColumnElement[bool]:
    if not text.isascii() or not text.isdigit() or not OLDEST.year <= int(text) < NEWEST.year:
        raise NotValid("Type a year such as 1975.")
    return Patient.born.between(date(int(text), 1, 1), date(int(text), 12, 31))


def _part(text: str) -> ColumnElement[bool]:
    if len(text) < 3:
        raise NotValid("Type three letters of the name, or more.")
    return Patient.name.icontains(text, autoescape=True)


def _beginning(text: str) -> ColumnElement[bool]:
    if len(text) < 2:
        raise NotValid("Type two letters of the name, or more.")
    return Patient.name.istartswith(text, autoescape=True)


QUESTIONS: dict[str, Callable[[str], ColumnElement[Any]]] = {
    "beginning": _beginning,
    "part": _part,
    "number": lambda text: Patient.number == text,
    "year": _year,
}
