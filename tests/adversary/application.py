"""The application that is attacked: patients of clinics, a page for each way to ask for them.

Some pages are what a careless programmer writes: they take the row's number, or even SQL, from anybody,
and have nothing but the signed-in clinic's scope between that and another clinic's rows.
"""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session

from sqlalchemy_cmk import tenant_scope
from sqlalchemy_cmk.runtime.clock import utc_now
from tests.adversary.clock import MovedClock
from tests.adversary.models import Base, Patient, Visit
from tests.adversary.reporter import Reporter
from tests.adversary.setting import Setting
from tests.adversary.ways import kind, outcome, ways_of_asking, ways_of_writing

SETTING = "ADVERSARY_SETTING"


class Pages:
    """What the application answers."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def add(self, clinic: str) -> dict[str, Any]:
        with Session(self._engine) as session:
            patient = Patient(clinic=clinic, **request.get_json())
            session.add(patient)
            session.flush()
            session.add(Visit(clinic=clinic, patient_id=patient.id, note="seen"))
            session.commit()
            return {"id": patient.id}

    def change(self, clinic: str, number: int) -> dict[str, Any]:
        with Session(self._engine) as session, tenant_scope(clinic):
            patient = session.get_one(Patient, number)
            for name, value in request.get_json().items():
                setattr(patient, name, value)
            session.commit()
            return {}

    def read(self, clinic: str, number: int, column: str) -> dict[str, Any]:
        with Session(self._engine) as session, tenant_scope(clinic):
            query = select(Patient.id, Patient.clinic, getattr(Patient, column)).where(Patient.id == number)
            return {"value": session.execute(query).one()[2]}

    def find(self, clinic: str) -> dict[str, Any]:
        with Session(self._engine) as session, tenant_scope(clinic):
            query = select(Patient.id).where(Patient.ssn == request.args["ssn"])
            return {"ids": session.scalars(query.order_by(Patient.id)).all()}

    def names(self, clinic: str) -> dict[str, Any]:
        with Session(self._engine) as session, tenant_scope(clinic):
            return {"names": [one.name for one in session.scalars(select(Patient).filter_by(clinic=clinic))]}

    def ask(self, clinic: str, number: int) -> dict[str, Any]:
        """What every careless way to ask for a row yields to who is signed in."""
        with Session(self._engine) as session, tenant_scope(clinic):
            ways = ways_of_asking(session, number, clinic)
            return {way: outcome(ask) for way, ask in ways.items()}

    def ask_without_scope(self, number: int) -> dict[str, Any]:
        with Session(self._engine) as session:
            ways = ways_of_asking(session, number, "nobody")
            return {way: outcome(ask) for way, ask in ways.items()}

    def plant(self, clinic: str, number: int, victim: str) -> dict[str, Any]:
        """What every way to write to the victim's rows comes to for who is signed in."""
        answers = {}
        for way in ways_of_writing(Session(), number, victim):
            with Session(self._engine) as session, tenant_scope(clinic):

                def write(session: Session = session, way: str = way) -> None:
                    ways_of_writing(session, number, victim)[way]()
                    session.commit()

                answers[way] = outcome(write)
        return answers

    def held(self, clinic: str, number: int, owner: str) -> dict[str, Any]:
        """A page that keeps one session for two clinics."""
        with Session(self._engine) as session:
            with tenant_scope(owner):
                patient = session.get_one(Patient, number)
            with tenant_scope(clinic):
                return {
                    "get": outcome(lambda: session.get_one(Patient, number).name),
                    "held": outcome(lambda: patient.name),
                }

    def delete(self, clinic: str, number: int) -> dict[str, Any]:
        """A page that deletes by the row's number alone."""
        with Session(self._engine) as session, tenant_scope(clinic):
            session.execute(delete(Visit).where(Visit.patient_id == number))
            session.execute(delete(Patient).where(Patient.id == number))
            session.commit()
            return {}

    def crash(self, clinic: str, number: int) -> dict[str, Any]:
        with Session(self._engine) as session, tenant_scope(clinic):
            said = f"= {session.get_one(Patient, number).name} in a local"
            return {"never": len(said) // 0}

    def elsewhere(self, clinic: str, number: int) -> dict[str, Any]:
        """Pages that leave their scope's thread, or their caller's."""

        def ask() -> Any:
            with Session(self._engine) as session:
                return session.scalars(select(Patient.name).where(Patient.id == number)).one()

        def export() -> Iterator[Any]:
            with tenant_scope(clinic):
                yield ask()
                yield ask()

        with ThreadPoolExecutor(1) as pool, tenant_scope(clinic):
            forgotten = pool.submit(outcome, ask).result()
        generator = export()
        begun = outcome(lambda: next(generator))
        after = outcome(ask)
        return {"thread": forgotten, "generator": begun, "after": after}


def create_app() -> Flask:
    """Return the application; no key is open yet, and each worker opens its own."""
    setting = Setting.read(Path(os.environ[SETTING]))
    say_everything(Path(setting.folder))
    engine = create_engine(setting.database_url, pool_size=8)
    clock, reporter = MovedClock(), Reporter(Path(setting.folder))
    keyring = setting.keyring(engine, "the application", clock=clock)
    keyring.protect(Base)
    app, pages = Flask(__name__), Pages(engine)
    for path, page in {
        "/<clinic>/<int:number>/<column>": pages.read,
        "/<clinic>/find": pages.find,
        "/<clinic>/names": pages.names,
        "/as/<clinic>/ask/<int:number>": pages.ask,
        "/as/<clinic>/plant/<int:number>/<victim>": pages.plant,
        "/as/<clinic>/delete/<int:number>": pages.delete,
        "/as/<clinic>/crash/<int:number>": pages.crash,
        "/as/<clinic>/held/<int:number>/<owner>": pages.held,
        "/as/<clinic>/elsewhere/<int:number>": pages.elsewhere,
        "/nobody/ask/<int:number>": pages.ask_without_scope,
    }.items():
        app.add_url_rule(path, path, page)
    app.add_url_rule("/<clinic>", "add", pages.add, methods=["POST"])
    app.add_url_rule("/<clinic>/<int:number>", "change", pages.change, methods=["POST"])

    @app.post("/operator/advance/<int:seconds>")
    def advance(seconds: int) -> dict[str, Any]:
        clock.advance(seconds)
        return {}

    @app.post("/operator/forget")
    def forget() -> dict[str, Any]:
        keyring.forget()
        return {}

    @app.post("/operator/assign/<tenant>")
    def assign(tenant: str) -> dict[str, Any]:
        keyring.assign(tenant, request.get_json()["kek_uri"])
        return {}

    @app.post("/operator/rewrap/<tenant>")
    def rewrap(tenant: str) -> dict[str, Any]:
        keyring.lifecycle.rewrap(tenant)
        return {}

    @app.get("/operator/worker")
    def worker() -> dict[str, Any]:
        return {"pid": os.getpid(), "now": str(utc_now())}

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[dict[str, Any], int]:
        logging.getLogger("application").error("failed", exc_info=error)
        reporter.send(error)
        return {"error": kind(error), "message": str(error)}, 500

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def say_everything(folder: Path) -> None:
    """Log whatever any library says, at every level."""
    handler = logging.FileHandler(folder / "application.log")
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("azure", "sqlalchemy", "sqlalchemy_cmk", "msal", "urllib3", "psycopg"):
        logging.getLogger(name).setLevel(logging.DEBUG)
