"""Statements that fail, each in its own way, with a secret in them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Date,
    Enum,
    Integer,
    Numeric,
    String,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from sqlalchemy_cmk import (
    EncryptedType,
    InvalidValue,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
)
from sqlalchemy_cmk.format import Context
from tests.faults.watching import keys_of
from tests.support.providers import CountingProvider
from tests.support.vault import Vault

SECRET = "PLANTED-SECRET-078051120"
OTHER = "PLANTED-OTHER"
BROKEN = f"{SECRET}\ud800"


class Unserializable:
    def __repr__(self) -> str:
        return SECRET


class NoDate:
    def __str__(self) -> str:
        raise TypeError("this is no date")


@dataclass
class Address:
    street: str


class World:
    """Patients of acme, on a vault whose provider notes every key."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        self.vault = vault
        vault.provider = self.provider = CountingProvider(folder / "keys.json")
        vault.restart()

        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            code: Mapped[int | None] = mapped_column(unique=True)
            seen: Mapped[Any] = mapped_column(Date, nullable=True)
            needed: Mapped[Any] = mapped_column(String(9), nullable=False, default="-")
            ssn: Mapped[Any] = mapped_column(EncryptedType(String(40)), nullable=True)
            email: Mapped[Any] = mapped_column(
                EncryptedType(String(40), deterministic=True), unique=True, nullable=True
            )
            number: Mapped[Any] = mapped_column(EncryptedType(Integer), nullable=True)
            balance: Mapped[Any] = mapped_column(EncryptedType(Numeric(5, 2)), nullable=True)
            born: Mapped[Any] = mapped_column(EncryptedType(Date), nullable=True)
            colour: Mapped[Any] = mapped_column(EncryptedType(Enum("red", "blue")), nullable=True)
            history: Mapped[Any] = mapped_column(EncryptedType(JSON), nullable=True)
            address: Mapped[Any] = mapped_column(EncryptedType(Address), nullable=True)

        class Missing(vault.base):
            __tablename__ = "missing"
            __cmk_tenant__ = None
            id: Mapped[int] = mapped_column(primary_key=True)
            value: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))

        self.Patient: Any = Patient
        self.Missing: Any = Missing
        vault.create()
        Missing.__table__.drop(vault.engine)
        vault.keyring.warm(["", "acme", "globex"], ["randomized", "deterministic"], new=True)
        with vault.session() as session:
            session.add(Patient(id=1, clinic="acme", code=1, ssn=SECRET, email=SECRET))
            session.commit()

    def secrets(self) -> dict[str, str | bytes]:
        contexts = [Context.of_column(None, "patients", column.key) for column in self.Patient.__table__.c]
        keys = {f"key {n}": key for n, key in enumerate(keys_of(self.provider, contexts))}
        return {"secret": SECRET, "other": OTHER, **keys}


def add(**values: Any) -> Callable[[World, Session], object]:
    def work(world: World, session: Session) -> None:
        session.add(world.Patient(clinic="acme", **values))
        session.flush()

    return work


def run(statement: Callable[[Any], Any], *parameters: Any) -> Callable[[World, Session], object]:
    return lambda world, session: session.execute(statement(world.Patient), *parameters)


def core(statement: Callable[[Any], Any], *parameters: Any) -> Callable[[World, Session], object]:
    return lambda world, session: session.connection().execute(
        statement(world.Patient.__table__), *parameters
    )


def change(**values: Any) -> Callable[[World, Session], object]:
    def work(world: World, session: Session) -> None:
        patient = session.get(world.Patient, 1)
        for name, value in values.items():
            setattr(patient, name, value)
        session.flush()

    return work


def stale(world: World, session: Session) -> None:
    patient = session.get(world.Patient, 1)
    session.connection().execute(text("DELETE FROM patients"))
    patient.ssn = OTHER
    session.flush()


def tampered(world: World, session: Session) -> None:
    session.connection().execute(text("UPDATE patients SET ssn = email"))
    session.scalars(select(world.Patient)).all()


def named(patient: Any) -> Any:
    return select(patient).where(patient.email == bindparam("e"), patient.seen == bindparam("d"))


def ssn_and(**values: Any) -> dict[str, Any]:
    return {"clinic": "acme", "ssn": SECRET, **values}


Failure = tuple[type[Exception] | tuple[type[Exception], ...], Callable[[World, Session], object]]
# Some types refuse it while they bind, which SQLAlchemy wraps; some drivers do, in errors of their own.
NO_DATE = NoDate()
WRONG_TYPE = (SQLAlchemyError, TypeError, AttributeError, ValueError)
FAILURES: dict[str, Failure] = {
    "unique violation": (IntegrityError, add(code=1, ssn=SECRET)),
    "unique violation of a sealed column": (IntegrityError, add(email=SECRET, ssn=OTHER)),
    "unique violation in bulk": (
        IntegrityError,
        run(insert, [ssn_and(code=2), ssn_and(code=1)]),
    ),
    "unique violation by an update": (IntegrityError, run(lambda p: insert(p).values(ssn_and(id=1)))),
    "null in a plain column": (IntegrityError, core(insert, ssn_and(needed=None))),
    "plain value of a wrong type": (WRONG_TYPE, add(seen=NO_DATE, ssn=SECRET, email=OTHER)),
    "plain value of a wrong type in Core": (
        WRONG_TYPE,
        core(insert, [ssn_and(seen=NO_DATE), ssn_and(seen=NO_DATE)]),
    ),
    "plain value of a wrong type in an update": (WRONG_TYPE, change(ssn=OTHER, seen=NO_DATE)),
    "rows of unequal keys": (StatementError, core(insert, [ssn_and(code=7), ssn_and()])),
    "unknown column": (SQLAlchemyError, core(lambda t: insert(t).values(ssn_and(nothing=1)))),
    "update without a key": (SQLAlchemyError, run(update, [{"ssn": SECRET}])),
    "text in a number": (InvalidValue, add(number=SECRET)),
    "text in a date": (InvalidValue, add(born=SECRET)),
    "text in a decimal": (InvalidValue, add(balance=SECRET)),
    "text that is no choice": (InvalidValue, add(colour=SECRET)),
    "text in a dataclass": (InvalidValue, add(address=SECRET)),
    "dataclass with a wrong field": (InvalidValue, add(address=Address(street=[SECRET]))),  # type: ignore[arg-type]
    "list in a text": (InvalidValue, add(ssn=[SECRET])),
    "text too long": (InvalidValue, add(ssn=SECRET * 3)),
    "text that is no Unicode": (InvalidValue, add(ssn=BROKEN)),
    "object in JSON": (InvalidValue, add(history={SECRET: Unserializable()})),
    "wrong type in bulk": (InvalidValue, run(insert, [ssn_and(), ssn_and(born=SECRET)])),
    "wrong type in an update": (InvalidValue, run(update, [{"id": 1, "born": SECRET, "ssn": OTHER}])),
    "wrong type in a query": (InvalidValue, run(lambda p: select(p).where(p.email == [SECRET]))),
    "too long in a query": (InvalidValue, run(lambda p: select(p).where(p.email == SECRET * 3))),
    "wrong type beside a query's value": (
        WRONG_TYPE,
        run(lambda p: select(p).where(p.email == SECRET, p.seen == literal(NO_DATE, Date))),
    ),
    "wrong type beside a named value": (WRONG_TYPE, run(named, {"e": SECRET, "d": NO_DATE})),
    "named value missing": (StatementError, run(named, {"e": SECRET})),
    "named value missing in a delete": (
        StatementError,
        core(
            lambda t: delete(t).where(t.c.email == bindparam("e"), t.c.seen == bindparam("d")), {"e": SECRET}
        ),
    ),
    "wrong type beside a named value in a delete": (
        WRONG_TYPE,
        core(
            lambda t: delete(t).where(t.c.email == bindparam("e"), t.c.seen == bindparam("d")),
            {"e": SECRET, "d": NO_DATE},
        ),
    ),
    "named value missing in an update": (
        StatementError,
        core(
            lambda t: update(t).where(t.c.email == bindparam("e"), t.c.id == bindparam("i")).values(code=5),
            {"e": SECRET},
        ),
    ),
    "named value missing beside a text's": (
        StatementError,
        core(lambda t: update(t).values(ssn=bindparam("s")).where(t.c.id == bindparam("i")), {"s": SECRET}),
    ),
    "statement on a table that is not there": (
        DBAPIError,
        lambda world, session: (session.add(world.Missing(value=SECRET)), session.flush()),
    ),
    "query of a table that is not there": (
        DBAPIError,
        lambda world, session: session.execute(select(world.Missing).where(world.Missing.value == SECRET)),
    ),
    "comparison of a randomized column": (
        UnsupportedOperation,
        run(lambda p: select(p).where(p.ssn == SECRET)),
    ),
    "pattern": (UnsupportedOperation, run(lambda p: select(p).where(p.email.like(SECRET)))),
    "list of a randomized column": (
        UnsupportedOperation,
        run(lambda p: select(p).where(p.ssn.in_([SECRET, OTHER]))),
    ),
    "parameter of another type": (
        UnsupportedOperation,
        run(lambda p: select(p).where(p.email == bindparam("e", SECRET, String()))),
    ),
    "SQL for a value": (
        UnsupportedOperation,
        run(lambda p: insert(p).values(clinic="acme", ssn=func.upper(SECRET))),
    ),
    "literal": (
        UnsupportedOperation,
        lambda world, session: (
            select(world.Patient)
            .where(world.Patient.email == SECRET)
            .compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        ),
    ),
    "row that is gone": (StaleDataError, stale),
    "tampered value": (TamperedError, tampered),
}
OUTSIDE_OF_A_SCOPE: dict[str, Failure] = {
    "row without a tenant": (TenantRequired, run(insert, [{"ssn": SECRET}])),
    "query without a tenant": (TenantRequired, run(lambda p: select(p).where(p.email == SECRET))),
    "update without a tenant": (TenantRequired, run(lambda p: update(p).values(ssn=SECRET))),
}
IN_ANOTHERS_SCOPE: dict[str, Failure] = {
    "row of another tenant": (TenantMismatch, add(ssn=SECRET)),
    "update of another tenant's row": (TenantMismatch, change(ssn=OTHER)),
    "rows of another tenant": (TenantMismatch, run(insert, [ssn_and()])),
}
