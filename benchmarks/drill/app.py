"""The application of a drill: notes of tenants, in a sealed column.

Each answer names the worker that it comes from, when the tenant's key was proven there the last time, and
whether that was so long ago that the request had to wait for another proof.
"""

import os
from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, g, request
from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.drill.setting import Setting
from sqlalchemy_cmk import CmkError, EncryptedType, KeyRevoked
from sqlalchemy_cmk.keys.model import Purpose

SETTING = "DRILL_SETTING"
OK = 200
REVOKED = 403
FAILED = 503


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    __cmk_tenant__ = "tenant"
    tenant: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(EncryptedType(String(100)))


def text_of(tenant: str, number: int) -> str:
    """What is written in a note; anyone who knows its number knows what has to come back."""
    return f"note {number} of {tenant}: Grüße, 你好"


def create_app() -> Flask:
    """Return the application, with every tenant's key open: gunicorn's workers are forked from here."""
    setting = Setting.read(Path(os.environ[SETTING]))
    engine = create_engine(setting.database_url, pool_size=8)
    keyring = setting.keyring(engine, "the application")
    keyring.protect(Base)
    keyring.warm(setting.vaults, new=True)
    app = Flask(__name__)

    @app.get("/<tenant>/<int:number>")
    def read(tenant: str, number: int) -> str:
        with Session(engine) as session:
            return session.get_one(Note, (tenant, number)).text

    @app.post("/<tenant>/<int:number>")
    def write(tenant: str, number: int) -> str:
        with Session(engine) as session:
            session.add(Note(tenant=tenant, number=number, text=request.get_data(as_text=True)))
            session.commit()
        return ""

    @app.before_request
    def look() -> None:
        tenant = (request.view_args or {}).get("tenant", "")
        g.overdue = keyring.opened.fresh_active(tenant, Purpose.RANDOMIZED) is None

    @app.errorhandler(CmkError)
    def refuse(error: CmkError) -> tuple[str, int]:
        return f"{type(error).__name__}: {error}", REVOKED if isinstance(error, KeyRevoked) else FAILED

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        response.headers["X-Overdue"] = str(int(g.overdue))
        if response.status_code == OK:
            with suppress(CmkError):
                dek = keyring.active((request.view_args or {})["tenant"], Purpose.RANDOMIZED)
                response.headers["X-Proven"] = str(dek.proven_at)
        return response

    return app
