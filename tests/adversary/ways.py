"""Each way in which a careless page may ask for, or write to, a row by its number alone."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, insert, select, text, union_all, update
from sqlalchemy.orm import Session, aliased

import sqlalchemy_cmk
from tests.adversary.models import TABLE, Patient, Visit


def ways_of_asking(session: Session, number: int, clinic: str) -> dict[str, Callable[[], Any]]:
    """Each way in which a page may ask for a row by its number alone; `clinic` is who asks."""
    other, everything = aliased(Patient), select(Patient).subquery()
    mine = f"'{clinic}' AS clinic"
    columns = ", ".join(one.name if one.name != "clinic" else mine for one in TABLE.columns)
    raw = select(Patient).from_statement(text(f"SELECT {columns} FROM patients WHERE id = :id"))
    relabelled = text(f"SELECT {mine}, name FROM patients WHERE id = :id").columns(
        Patient.clinic, Patient.name
    )
    named = select(Patient.name).where(Patient.id == number)
    return {
        "get": lambda: session.get_one(Patient, number).name,
        "entity": lambda: session.scalars(select(Patient).where(Patient.id == number)).one().name,
        "alias": lambda: session.scalars(select(other).where(other.id == number)).one().name,
        "column": lambda: session.scalars(named).one(),
        "columns": lambda: session.execute(named.add_columns(Patient.clinic)).one()[0],
        "label": lambda: session.scalars(select(Patient.name.label("n")).where(Patient.id == number)).one(),
        "subquery": lambda: session.execute(select(everything.c.name).where(everything.c.id == number)).one()[
            0
        ],
        "union": lambda: session.scalars(union_all(named, named)).first(),
        "join": lambda: session.scalars(
            select(Patient).join(Visit, Visit.patient_id == Patient.id).where(Patient.id == number)
        ).first(),
        "aggregate": lambda: session.scalars(
            select(func.max(Patient.name)).where(Patient.id == number)
        ).one(),
        "SQL": lambda: session.scalars(raw, {"id": number}).one().name,
        "SQL, columns": lambda: session.execute(relabelled, {"id": number}).one().name,
        "core": lambda: (
            session.connection().execute(select(TABLE.c.name).where(TABLE.c.id == number)).one()[0]
        ),
    }


def ways_of_writing(session: Session, number: int, clinic: str) -> dict[str, Callable[[], Any]]:
    """Each way in which a page may write to another clinic's rows; `clinic` is whose they are."""
    return {
        "add": lambda: session.add(Patient(clinic=clinic, name="planted")),
        "insert": lambda: session.execute(insert(Patient).values(clinic=clinic, name="planted")),
        "many": lambda: session.execute(insert(Patient), [{"clinic": clinic, "name": "planted"}] * 2),
        "change": lambda: setattr(session.get_one(Patient, number), "name", "planted"),
        "update by number": lambda: session.execute(
            update(Patient).where(Patient.id == number).values(name="planted")
        ),
        "core update": lambda: session.connection().execute(
            update(TABLE).where(TABLE.c.id == number).values(name="planted")
        ),
        "update": lambda: session.execute(
            update(Patient).where(Patient.id == number, Patient.clinic == clinic).values(name="planted")
        ),
    }


def outcome(work: Callable[[], Any]) -> str:
    """What a piece of work comes to: its value after an equals sign, or its error's class."""
    try:
        value = work()
    except Exception as error:
        return kind(error)
    return f"= {value}"


def kind(error: BaseException) -> str:
    """The error's class, as an application that handles the library's public ones knows it."""
    public = (one for one in type(error).__mro__ if getattr(sqlalchemy_cmk, one.__name__, None) is one)
    return next(public, type(error)).__name__
