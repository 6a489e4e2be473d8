"""The application on a synchronous driver, for WSGI."""

import os
from pathlib import Path

from flask import Flask, Response, request
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from benchmarks.drill.setting import Setting
from benchmarks.soak.notes import PAGE, SETTING, Base, Note, listed, refusal, shown
from sqlalchemy_cmk import CmkError


def create_app() -> Flask:
    """Return the application, with every tenant's key open: the workers are forked from here."""
    setting = Setting.read(Path(os.environ[SETTING]))
    engine = create_engine(setting.database_url)
    keyring = setting.keyring(engine, "the sync application")
    keyring.protect(Base)
    keyring.warm(setting.vaults, new=True)
    app = Flask(__name__)
    app.register_error_handler(CmkError, refusal)

    @app.get("/")
    def page() -> str:
        with Session(engine) as session:
            return listed(session.scalars(PAGE))

    @app.get("/<tenant>/<int:number>")
    def read(tenant: str, number: int) -> str:
        with Session(engine) as session:
            return shown(session.get_one(Note, (tenant, number)))

    @app.post("/<tenant>/<int:number>")
    def write(tenant: str, number: int) -> str:
        with Session(engine) as session:
            session.add(Note(tenant=tenant, number=number, text=request.get_data(as_text=True)))
            session.commit()
        return ""

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app
