"""Two clinics with sealed columns of both suites, and a way past the library to what is stored."""

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, select, text
from sqlalchemy.orm import Mapped, deferred, mapped_column, relationship

from sqlalchemy_cmk import EncryptedType, TamperedError
from tests.faults.watching import Everything
from tests.support.vault import Vault, make_vault, vault

__all__ = ["Clinics", "clinics", "make_vault", "vault"]

TENANTS = {1: "acme", 2: "globex"}


class Clinics:
    """Patient 1 of acme and patient 2 of globex, each with a doctor and a nurse of the same number."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        models = declared(vault.base)
        self.Doctor: Any = models.Doctor
        self.Patient: Any = models.Patient
        self.Employee: Any = models.Employee
        self.Nurse: Any = models.Nurse
        vault.create()

    def value(self, column: str, number: int) -> str:
        return f"{column} of {TENANTS[number]}"

    def fill(self) -> None:
        self.vault.keyring.warm(TENANTS.values(), ("randomized", "deterministic"), new=True)
        with self.vault.session() as session:
            for number, tenant in TENANTS.items():
                row = {"id": number, "clinic": tenant}
                named = {name: self.value(name, number) for name in ("ssn", "phone", "email", "city", "note")}
                session.add(self.Doctor(**row, name=self.value("name", number)))
                session.flush()
                session.add(self.Patient(**row, **named, doctor_id=number))
                session.add(self.Nurse(**row, licence=self.value("licence", number)))
            session.commit()

    def stored(self, column: str, number: int, table: str = "patients") -> bytes:
        ((value,),) = self.vault.raw(f"SELECT {column} FROM {table} WHERE id = {number:d}")
        return bytes(value)

    def overwrite(self, column: str, number: int, stored: Any, table: str = "patients") -> None:
        with self.vault.engine.begin() as connection:
            statement = text(f"UPDATE {table} SET {column} = :stored WHERE id = :number")
            connection.execute(statement, {"stored": stored, "number": number})

    def swap(self, column: str, table: str = "patients") -> None:
        """Exchange a column's values between the two clinics' rows."""
        first, second = self.stored(column, 1, table), self.stored(column, 2, table)
        self.overwrite(column, 1, second, table)
        self.overwrite(column, 2, first, table)

    def execute(self, sql: str, **parameters: Any) -> None:
        with self.vault.engine.begin() as connection:
            connection.execute(text(sql), parameters)


def declared(base: Any) -> SimpleNamespace:
    class Doctor(base):
        __tablename__ = "doctors"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        name: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        patients: Mapped[list["Patient"]] = relationship("Patient", back_populates="doctor")

    class Patient(base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        doctor_id: Mapped[int | None] = mapped_column(ForeignKey("doctors.id"))
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        phone: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        city: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        note: Mapped[str | None] = deferred(mapped_column(EncryptedType(String(40))))
        doctor: Mapped["Doctor"] = relationship("Doctor", back_populates="patients")

    class Employee(base):
        __tablename__ = "employees"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        kind: Mapped[str] = mapped_column(String(10))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "other"}  # noqa: RUF012

    class Nurse(Employee):
        __tablename__ = "nurses"
        id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
        licence: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        __mapper_args__ = {"polymorphic_identity": "nurse"}  # noqa: RUF012

    return SimpleNamespace(Doctor=Doctor, Patient=Patient, Employee=Employee, Nurse=Nurse)


@pytest.fixture
def clinics(vault: Vault) -> Clinics:
    """The clinics on each database in turn."""
    clinics = Clinics(vault)
    clinics.fill()
    return clinics


@pytest.fixture
def sqlite_clinics(make_vault: Callable[[], Vault]) -> Clinics:
    """The clinics on SQLite, for what does not depend on the driver."""
    clinics = Clinics(make_vault())
    clinics.fill()
    return clinics


Reader = Callable[[Clinics, str, int], Any]


def by_orm(clinics: Clinics, column: str, number: int) -> Any:
    with clinics.vault.session() as session:
        return getattr(session.get(clinics.Patient, number), column)


def by_core(clinics: Clinics, column: str, number: int) -> Any:
    table = clinics.Patient.__table__
    with clinics.vault.engine.connect() as connection:
        return connection.execute(
            select(table.c[column], table.c.clinic).where(table.c.id == number)
        ).scalar()


def by_raw_sql(clinics: Clinics, column: str, number: int) -> Any:
    table = clinics.Patient.__table__
    typed = text(f"SELECT {column}, clinic FROM patients WHERE id = {number:d}")
    with clinics.vault.engine.connect() as connection:
        return connection.execute(typed.columns(table.c[column], table.c.clinic)).scalar()


READERS: dict[str, Reader] = {"ORM": by_orm, "Core": by_core, "raw SQL": by_raw_sql}


def refusal(read: Callable[[], Any]) -> str:
    """What a TamperedError says; it keeps no traceback alive, in which a cursor would stay open."""
    try:
        value = read()
    except TamperedError as error:
        return str(error)
    pytest.fail(f"no TamperedError: {value!r} was read", pytrace=False)


@pytest.fixture
def log() -> Iterator[Everything]:
    """All that any logger says, at every level."""
    handler = Everything()
    loggers = [
        logging.getLogger(name) for name in (None, "sqlalchemy", "sqlalchemy_cmk", "aiosqlite", "asyncio")
    ]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)
