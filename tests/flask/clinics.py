"""Applications of clinics on Flask-SQLAlchemy, each with the extension and two clinics' patients."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.flask import CMK
from sqlalchemy_cmk.providers import LocalKeyProvider


class Base(DeclarativeBase):
    """The models of every application here."""


db = SQLAlchemy(model_class=Base)


class Patient(db.Model):
    """A patient of one clinic."""

    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(EncryptedType(String(40)))


NAMES = {"acme": ["Ann", "Al", "Ada"], "globex": ["Gus", "Gil"]}


class Clinics:
    """One application, and what a test asks of it."""

    def __init__(self, folder: Path, cmk: CMK, **config: Any) -> None:
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.cmk = cmk
        self.app = Flask("clinics", instance_path=str(folder))
        self.app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder}/clinics.db", **config)
        db.init_app(self.app)

    def start(self) -> "Clinics":
        """Serve the application, and admit its patients."""
        self.cmk.init_app(self.app)
        with self.app.app_context():
            db.create_all(None)
            self.cmk.keyring.assign("acme", "local:acme")
            db.session.add_all([Patient(clinic=one, name=name) for one in NAMES for name in NAMES[one]])
            db.session.commit()
        return self

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def get(self, path: str, clinic: str = "", accept: str = "*/*") -> Any:
        """The answer to a request of a clinic, which a header names."""
        return self.client.get(path, headers={"X-Clinic": clinic, "Accept": accept})

    def close(self) -> None:
        with self.app.app_context():
            self.cmk.keyring.close()
            for engine in db.engines.values():
                engine.dispose()


def keyring(folder: Path, **options: Any) -> Keyring:
    """A keyring without an engine."""
    return Keyring(platform_key="local:pmk", providers=[LocalKeyProvider(folder / "keys.json")], **options)


def names() -> list[str]:
    """The names of the patients that the scope may read; nothing else says whose they are."""
    return list(db.session.scalars(select(Patient.name).where(Patient.id <= 3).order_by(Patient.id)))


def each_name() -> Iterator[str]:
    """The same, one by one."""
    yield from (f"{name}\n" for name in names())
