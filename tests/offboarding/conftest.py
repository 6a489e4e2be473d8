"""A clinic that leaves: tables of each kind, on each database, and an RSA key of its own."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import (
    JSON,
    Date,
    DateTime,
    Engine,
    ForeignKey,
    LargeBinary,
    Numeric,
    String,
    Uuid,
    create_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.certificates import make_certificate_key
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.search import Exact
from tests.support.databases import Database
from tests.support.drivers import keyring_engine


class Base(DeclarativeBase):
    pass


class Patient(Base):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    __cmk_row__ = ("number",)
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=[Exact()]))
    born: Mapped[date | None] = mapped_column(EncryptedType(Date, row_bound=True))
    debt: Mapped[Decimal | None] = mapped_column(EncryptedType(Numeric(10, 2), deterministic=True))
    scan: Mapped[bytes | None] = mapped_column(EncryptedType(LargeBinary))
    notes: Mapped[dict[str, Any] | None] = mapped_column(EncryptedType(JSON, on_revoked="seal"))
    seen: Mapped[datetime | None] = mapped_column(DateTime)
    number: Mapped[UUID] = mapped_column(Uuid, default=uuid4)


class Document(Base):
    __tablename__ = "documents"
    __cmk_tenant__ = "clinic"
    __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "document"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    clinic: Mapped[str] = mapped_column(String(40), index=True)


class Letter(Document):  # its tenant is in the row of the base table
    __tablename__ = "letters"
    __mapper_args__: ClassVar = {"polymorphic_identity": "letter"}
    id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    body: Mapped[str] = mapped_column(EncryptedType(String(40)))


class Room(Base):  # nothing of it is sealed
    __tablename__ = "rooms"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))


class Country(Base):
    __tablename__ = "countries"
    __cmk_tenant__ = None
    id: Mapped[int] = mapped_column(primary_key=True)


PATIENT = {
    "id": 1,
    "clinic": "acme",
    "name": "Zoë \N{GRINNING FACE}",
    "born": "1980-02-29",
    "debt": "12.25",
    "scan": "AP8=",
    "notes": {"pulse": [61, 1.5], "ok": True},
    "seen": "2026-11-28T10:11:12",
    "number": "12345678-1234-5678-1234-567812345678",
}


@dataclass
class Clinic:
    """An application with rows of acme and globex, and the folder that acme is exported to."""

    engine: Engine
    keyring: Keyring
    provider: LocalKeyProvider
    folder: Path
    out: Path

    def add(self, *objects: Any) -> None:
        with Session(self.engine) as session:
            session.add_all(objects)
            session.commit()

    def names(self, clinic: str) -> list[str | None]:
        with Session(self.engine) as session:
            return [one.name for one in session.query(Patient).filter(Patient.clinic == clinic)]


def open_clinic(url: str, folder: Path, **options: Any) -> Clinic:
    """The application as a process of its own opens it, over the keys in a folder."""
    engine, provider = create_engine(url), LocalKeyProvider(folder / "keys.json")
    keyring = Keyring(
        keyring_engine(engine),
        platform_key="local:pmk",
        providers=[provider],
        certificate_key=f"file:{folder / 'certificate.pem'}",
        **options,
    )
    keyring.protect(Base)
    return Clinic(engine, keyring, provider, folder, folder / "out")


def make_clinic(url: str, folder: Path) -> Clinic:
    make_certificate_key(folder / "certificate.pem")
    made = open_clinic(url, folder)
    Base.metadata.create_all(made.engine)
    made.keyring.assign("acme", "local:acme")
    for clinic in ("acme", "globex"):
        patient = Patient(
            clinic=clinic,
            name=PATIENT["name"],
            born=date(1980, 2, 29),
            debt=Decimal("12.25"),
            scan=b"\x00\xff",
            notes=PATIENT["notes"],
            seen=datetime(2026, 11, 28, 10, 11, 12, tzinfo=UTC).replace(tzinfo=None),
            number=UUID(str(PATIENT["number"])),
        )
        made.add(patient, Letter(clinic=clinic, body=f"Dear {clinic}"), Room(clinic=clinic))
        made.add(Patient(clinic=clinic))
    made.add(Country())
    return made


@pytest.fixture
def clinic(database: Database, tmp_path: Path) -> Iterator[Clinic]:
    """The application on each database in turn."""
    yield from _opened(database.url, tmp_path)


@pytest.fixture
def sqlite_clinic(sqlite_database: Database, tmp_path: Path) -> Iterator[Clinic]:
    """The application on SQLite."""
    yield from _opened(sqlite_database.url, tmp_path)


def _opened(url: str, folder: Path) -> Iterator[Clinic]:
    made = make_clinic(url, folder)
    yield made
    made.keyring.close()
    made.engine.dispose()


@cache
def _rsa() -> tuple[bytes, bytes]:
    key = generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def private_key(tmp_path: Path) -> Path:
    """The file with the customer's private key; the public one is beside it, in ``public.pem``."""
    private, public = _rsa()
    path = tmp_path / "private.pem"
    path.touch(0o600)
    path.write_bytes(private)
    os.chmod(path, 0o600)
    (tmp_path / "public.pem").write_bytes(public)
    return path
