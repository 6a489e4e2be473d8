"""Upserts: what a conflict writes is sealed for the row it meets, and spoils no other tenant's row."""

import warnings
from typing import Any, ClassVar

import pytest
from sqlalchemy import ForeignKey, LargeBinary, String, bindparam, literal, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import CmkError, EncryptedType, TenantRequired, UnsupportedOperation, tenant_scope
from tests.support.vault import Vault

INSERT: dict[str, Any] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}


class Upserts:
    """The model, and upserts by its unique number in the dialect of the vault's database."""

    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            number: Mapped[int] = mapped_column(unique=True)
            clinic: Mapped[str] = mapped_column(String(40))
            name: Mapped[str | None] = mapped_column(String(40))
            kind: Mapped[str] = mapped_column(String(10), default="person")
            ssn: Mapped[str | None] = mapped_column("social", EncryptedType(String(40)), key="ssn")
            scan: Mapped[bytes | None] = mapped_column(EncryptedType(LargeBinary))
            photo: Mapped[bytes | None] = mapped_column(EncryptedType(LargeBinary))
            __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

        class Inpatient(Patient):
            __tablename__ = "inpatients"
            id: Mapped[int] = mapped_column(ForeignKey("patients.id"), primary_key=True)
            bed: Mapped[int] = mapped_column(unique=True)
            diagnosis: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
            __mapper_args__: ClassVar = {"polymorphic_identity": "inpatient"}

        self.vault = vault
        self.is_mysql = vault.engine.dialect.name in ("mysql", "mariadb")
        self.table: Any = Patient.__table__
        self.Patient: Any = Patient
        self.Inpatient: Any = Inpatient
        vault.create()
        with vault.session() as session:
            session.add(Patient(id=1, number=1, clinic="acme", ssn="one"))
            session.add(Inpatient(id=2, number=2, clinic="globex", ssn="two", bed=7, diagnosis="flu"))
            session.add(Patient(id=3, number=3, clinic="acme"))
            session.commit()

    def upsert(self, set_: Any, values: Any = None, table: Any = None, by: str = "number") -> Any:
        target = self.table if table is None else table
        statement = INSERT[self.vault.engine.dialect.name](target)
        statement = statement if values is None else statement.values(values)
        new = getattr(statement, "excluded", None)
        new = statement.inserted if new is None else new
        set_ = set_(new) if callable(set_) else set_
        if hasattr(statement, "on_conflict_do_update"):
            return statement.on_conflict_do_update(index_elements=[by], set_=set_)
        return statement.on_duplicate_key_update(set_)

    def run(self, statement: Any, params: Any = None) -> None:
        with self.vault.session() as session:
            session.execute(statement, params)
            session.commit()

    def numbers(self) -> list[str | None]:
        self.vault.restart()
        with self.vault.session() as session:
            patients = session.scalars(select(self.Patient).order_by(self.Patient.id)).all()
            return [patient.ssn for patient in patients]


@pytest.fixture
def upserts(vault: Vault) -> Upserts:
    return Upserts(vault)


ACME = {"number": 1, "clinic": "acme", "ssn": "new"}
GLOBEX = {"number": 2, "clinic": "globex", "ssn": "new"}


def test_a_named_parameter_is_sealed_row_by_row(upserts: Upserts) -> None:
    statement = upserts.upsert({"ssn": bindparam("met")})
    rows = [{**ACME, "met": "1"}, {**GLOBEX, "met": "2"}]
    # PyMySQL runs many rows as one statement, which can have one value for all only.
    for some in [[one] for one in rows] if upserts.is_mysql else [rows]:
        upserts.run(statement, some)
    assert upserts.numbers() == ["1", "2", None]


def test_a_named_parameter_beside_embedded_values_is_sealed(upserts: Upserts) -> None:
    upserts.run(upserts.upsert({"ssn": bindparam("met")}, ACME), {"met": "1"})
    assert upserts.numbers()[0] == "1"


def test_a_named_parameter_that_is_missing_writes_no_null(upserts: Upserts) -> None:
    with pytest.raises(StatementError, match="met"):
        upserts.run(upserts.upsert({"ssn": bindparam("met")}, ACME))
    update_one = update(upserts.table).where(upserts.table.c.id == 1).values(ssn=bindparam("met"))
    with pytest.raises(StatementError, match="met"):
        upserts.run(update_one)
    assert upserts.numbers()[0] == "one"


def test_one_value_for_rows_of_several_tenants_is_refused(upserts: Upserts) -> None:
    for value in ("x", bindparam(None, "x"), literal("x", upserts.table.c.ssn.type)):
        with pytest.raises(TenantRequired):
            upserts.run(upserts.upsert({"ssn": value}), [ACME, GLOBEX])
    assert upserts.numbers() == ["one", "two", None]


def test_the_tenant_of_the_row_that_is_there_does_not_change(upserts: Upserts) -> None:
    moved = {**ACME, "clinic": "globex"}
    for value in ("globex", literal("globex"), bindparam("c")):
        with pytest.raises(UnsupportedOperation, match="clinic"):
            upserts.run(upserts.upsert({"clinic": value}), {**moved, "c": "globex"})
    upserts.run(upserts.upsert(lambda new: {"clinic": new.clinic, "name": new.name}), {**moved, "name": "x"})
    upserts.run(upserts.upsert(lambda new: {"clinic": new.clinic, "ssn": new.ssn}, moved))
    assert upserts.numbers() == ["one", "two", None]
    assert upserts.vault.raw("SELECT name FROM patients WHERE id = 1") == [(None,)]
    upserts.run(upserts.upsert(lambda new: {"clinic": new.clinic, "ssn": new.ssn}, ACME))
    assert upserts.numbers()[0] == "new"


def test_a_column_is_named_by_its_key(upserts: Upserts) -> None:
    with warnings.catch_warnings(), pytest.raises(UnsupportedOperation, match="'ssn', not 'social'"):
        warnings.simplefilter("ignore")
        upserts.run(upserts.upsert({"social": "plain"}, ACME))


def test_a_row_of_a_subclass_meets_no_other_row(upserts: Upserts) -> None:
    table = upserts.Inpatient.__table__
    values = {"id": 1, "bed": 7, "diagnosis": "cold"}  # the bed of a patient of the other clinic
    upserts.run(upserts.upsert(lambda new: {"diagnosis": new.diagnosis}, values, table, by="bed"))
    upserts.vault.restart()
    with upserts.vault.session() as session:
        assert session.get_one(upserts.Inpatient, 2).diagnosis == "flu"


def test_a_parameter_of_two_sealed_columns_is_refused(upserts: Upserts) -> None:
    table = upserts.table
    both = update(table).where(table.c.id == bindparam("i"))
    for values in (
        {"scan": bindparam("v"), "photo": bindparam("v")},
        {"ssn": bindparam("v"), "name": bindparam("v")},
    ):
        with pytest.raises(CmkError, match="v"):
            upserts.run(both.values(values), {"i": 1, "v": b"x" if "scan" in values else "x"})


def test_named_criteria_of_a_bulk_update_are_looked_at_row_by_row(upserts: Upserts) -> None:
    table = upserts.table
    by_number = update(table).where(table.c.number == bindparam("n")).values(ssn=bindparam("v"))
    with tenant_scope("acme"):
        upserts.run(by_number, [{"n": 1, "v": "1"}, {"n": 3, "v": "3"}])
        with pytest.raises(CmkError):
            upserts.run(by_number, [{"n": 1, "v": "x"}, {"n": 2, "v": "x"}])
    assert upserts.numbers() == ["1", "two", "3"]
