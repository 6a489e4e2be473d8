"""A sealed value moved into a row of another tenant is refused however the row is read."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import String, case, func, select, text, union_all
from sqlalchemy.orm import (
    Bundle,
    Mapped,
    Session,
    aliased,
    contains_eager,
    defer,
    joinedload,
    load_only,
    mapped_column,
    selectinload,
    subqueryload,
    undefer,
    with_polymorphic,
)

from sqlalchemy_cmk import EncryptedType, TamperedError, TenantMismatch, TenantRequired, tenant_scope
from tests.faults.conftest import TENANTS, Clinics, refusal
from tests.support.vault import Vault

Read = Callable[[Clinics, Session], list[Any]]


def entities(options: Callable[[Any], Any], column: str = "ssn") -> Read:
    """Read a column of the patients that a statement loads."""

    def read(clinics: Clinics, session: Session) -> list[Any]:
        return [getattr(one, column) for one in session.scalars(options(clinics.Patient))]

    return read


def rows(statement: Callable[[Any], Any]) -> Read:
    """Read the last column of a statement's rows."""
    return lambda clinics, session: [row[-1] for row in session.execute(statement(clinics.Patient))]


def columns(*names: str, alias: bool = False) -> Read:
    def statement(patient: Any) -> Any:
        source = aliased(patient) if alias else patient
        return select(*(getattr(source, name) for name in names)).order_by(source.id)

    return rows(statement)


def ordered(patient: Any, *options: Any) -> Any:
    return select(patient).order_by(patient.id).options(*options)


def by_doctor(clinics: Clinics, session: Session, *options: Any, join: bool = False) -> list[Any]:
    """Read patients through their doctors, whose own sealed name is left alone."""
    doctor = clinics.Doctor
    statement = ordered(doctor, defer(doctor.name), *options)
    doctors = session.scalars(statement.join(doctor.patients) if join else statement).unique().all()
    return [one.patients[0].ssn for one in doctors]


def eagerly(option: Callable[[Any], Any], *, join: bool = False) -> Read:
    return lambda clinics, session: by_doctor(clinics, session, option(clinics.Doctor.patients), join=join)


def again(load: Callable[[Session, Any], object]) -> Read:
    """Load a sealed column of patients that are in the session without it."""

    def read(clinics: Clinics, session: Session) -> list[Any]:
        patient = clinics.Patient
        patients = session.scalars(ordered(patient, load_only(patient.clinic))).all()
        for one in patients:
            load(session, one)
        return [one.ssn for one in patients]

    return read


def bundle(clinics: Clinics) -> Any:
    patient = clinics.Patient
    return select(Bundle("b", patient.clinic, patient.ssn)).order_by(patient.id)


def core(patient: Any) -> Any:
    return select(patient.__table__.c.clinic, patient.__table__.c.ssn).order_by(patient.__table__.c.id)


def subquery(patient: Any) -> Any:
    inner = select(patient.id, patient.clinic, patient.ssn).subquery()
    return select(inner).order_by(inner.c.id)


def renamed_cte(patient: Any) -> Any:
    inner = select(patient.id, patient.clinic.label("a"), patient.ssn.label("b")).cte()
    return select(inner.c.a, inner.c.b).order_by(inner.c.id)


def halves(patient: Any, *columns: Any) -> Any:
    return union_all(*(select(*columns).where(patient.id == number) for number in TENANTS))


def typed_text(patient: Any) -> Any:
    typed = patient.__table__.c.clinic, patient.__table__.c.ssn
    return text("SELECT clinic, ssn FROM patients ORDER BY id").columns(*typed)


def text_entity(patient: Any) -> Any:
    return select(patient).from_statement(text("SELECT * FROM patients ORDER BY id"))


READS: dict[str, Read] = {
    "entity": entities(ordered),
    "entity by its key": lambda clinics, session: [session.get(clinics.Patient, n).ssn for n in TENANTS],
    "entity of a legacy query": lambda clinics, session: [one.ssn for one in session.query(clinics.Patient)],
    "stream of entities": entities(lambda patient: ordered(patient).execution_options(yield_per=1)),
    "aliased entity": entities(lambda patient: ordered(aliased(patient))),
    "entity from a subquery": entities(lambda patient: ordered(aliased(patient, select(patient).subquery()))),
    "entity from a text": entities(text_entity),
    "deferred column": again(lambda session, one: None),
    "refresh": again(lambda session, one: session.refresh(one)),
    "refresh of one column": again(lambda session, one: session.refresh(one, ["ssn"])),
    "expired entity": again(lambda session, one: session.expire(one)),
    "columns": columns("clinic", "ssn"),
    "columns of an alias": columns("clinic", "ssn", alias=True),
    "columns in a bundle": lambda clinics, session: [row[0].ssn for row in session.execute(bundle(clinics))],
    "columns of a table": rows(core),
    "columns of a subquery": rows(subquery),
    "columns of a renaming CTE": rows(renamed_cte),
    "columns of a union": rows(lambda patient: halves(patient, patient.clinic, patient.ssn)),
    "columns of a typed text": rows(typed_text),
    "joined eager load": eagerly(joinedload),
    "select-in load": eagerly(selectinload),
    "subquery load": eagerly(subqueryload),
    "contained eager load": eagerly(contains_eager, join=True),
    "lazy load": by_doctor,
}
# The result has the tenant column, or the sealed one, under another name or in an expression.
RENAMED: dict[str, Read] = {
    "sealed column renamed": rows(lambda p: select(p.clinic, p.ssn.label("s")).order_by(p.id)),
    "tenant column renamed": rows(lambda p: select(p.clinic.label("c"), p.ssn).order_by(p.id)),
    "both renamed": rows(lambda p: select(p.clinic.label("c"), p.ssn.label("s")).order_by(p.id)),
    "both renamed in a union": rows(lambda p: halves(p, p.clinic.label("c"), p.ssn.label("s"))),
    "coalesce": rows(lambda p: select(p.clinic, func.coalesce(p.ssn, p.ssn)).order_by(p.id)),
    "case": rows(lambda p: select(p.clinic, case((p.id > 0, p.ssn))).order_by(p.id)),
}


def read_cold(clinics: Clinics, read: Read) -> list[Any]:
    clinics.vault.restart()
    return read_warm(clinics, read)


def read_warm(clinics: Clinics, read: Read) -> list[Any]:
    with clinics.vault.session() as session:
        return read(clinics, session)


def refuses(clinics: Clinics, read: Read, column: str = "ssn", table: str = "patients") -> None:
    """Make sure that a way of reading works, and that it names a value which came from the other clinic."""
    assert read_cold(clinics, read) == [clinics.value(column, number) for number in TENANTS]
    clinics.swap(column, table)
    for again in (read_warm, read_cold):
        message = refusal(partial(again, clinics, read))
        named = re.fullmatch(
            rf"{table}\.{column}: a row of tenant '(\w+)' holds a value sealed for '(\w+)' under DEK (\w+)",
            message,
        )
        assert named is not None, message
        (number,) = (number for number, tenant in TENANTS.items() if tenant == named[1])
        assert (
            named[2] == TENANTS[3 - number] and named[3] == clinics.stored(column, number, table)[1:9].hex()
        )


@pytest.mark.parametrize("way", READS)
def test_a_value_of_another_tenant_is_refused(sqlite_clinics: Clinics, way: str) -> None:
    refuses(sqlite_clinics, READS[way])


@pytest.mark.parametrize("way", RENAMED)
def test_a_value_of_another_tenant_is_refused_under_another_name(sqlite_clinics: Clinics, way: str) -> None:
    refuses(sqlite_clinics, RENAMED[way])


def test_a_value_selected_from_another_tenants_row_is_not_taken_for_a_moved_one(
    sqlite_clinics: Clinics,
) -> None:
    patient = sqlite_clinics.Patient
    other = aliased(patient)
    theirs = select(patient.ssn).where(patient.id == 2).scalar_subquery()
    nothing = case((patient.id > 100, patient.ssn))
    beside = other.id == patient.id + 1
    queries = [
        select(patient.clinic, theirs).where(patient.id == 1),
        select(patient.clinic, func.coalesce(nothing, other.ssn)).join(other, beside).where(patient.id == 1),
        select(patient.clinic, other.ssn).join(other, beside).where(patient.id == 1),
    ]
    for query in queries:
        with sqlite_clinics.vault.session() as session:
            with pytest.raises(TenantRequired, match=r"patients\.ssn: whose value it is cannot be seen"):
                session.execute(query).one()
            with tenant_scope("acme"), pytest.raises(TenantMismatch):
                session.execute(query).one()
            with tenant_scope("globex"):
                assert session.execute(query).one() == ("acme", sqlite_clinics.value("ssn", 2))
    with sqlite_clinics.vault.session() as session:
        row = session.execute(queries[-1].add_columns(other.clinic)).one()
        assert row == ("acme", sqlite_clinics.value("ssn", 2), "globex")


def test_a_deterministic_value_of_another_tenant_is_refused(clinics: Clinics) -> None:
    refuses(clinics, entities(ordered, "email"), "email")


def test_a_deferred_value_of_another_tenant_is_refused(clinics: Clinics) -> None:
    refuses(clinics, entities(ordered, "note"), "note")


def test_an_undeferred_value_of_another_tenant_is_refused(clinics: Clinics) -> None:
    refuses(clinics, entities(lambda patient: ordered(patient, undefer(patient.note)), "note"), "note")


def nurses(statement: Callable[[Any], Any]) -> Read:
    return lambda clinics, session: [one.licence for one in session.scalars(statement(clinics))]


INHERITED: dict[str, Read] = {
    "entity": nurses(lambda c: ordered(c.Nurse)),
    "entity of the base": nurses(lambda c: ordered(c.Employee)),
    "polymorphic entity": nurses(lambda c: ordered(with_polymorphic(c.Employee, [c.Nurse]))),
    "aliased entity": nurses(lambda c: ordered(aliased(c.Nurse))),
    "columns": lambda c, session: [
        row.licence for row in session.execute(select(c.Nurse.clinic, c.Nurse.licence).order_by(c.Nurse.id))
    ],
}


@pytest.mark.parametrize("way", INHERITED)
def test_a_value_of_another_tenant_is_refused_in_the_table_of_a_subclass(
    sqlite_clinics: Clinics, way: str
) -> None:
    refuses(sqlite_clinics, INHERITED[way], "licence", "nurses")


def test_a_scope_stands_in_for_a_tenant_column_that_is_not_selected(clinics: Clinics) -> None:
    mine = select(clinics.Patient.ssn).where(clinics.Patient.clinic == "acme")
    with tenant_scope("acme"):
        with clinics.vault.session() as session:
            assert session.scalars(mine).all() == [clinics.value("ssn", 1)]
        clinics.swap("ssn")
        with (
            clinics.vault.session() as session,
            pytest.raises(TenantMismatch, match=r"patients\.ssn: a value of tenant 'globex'"),
        ):
            session.scalars(mine).all()


def test_a_value_moved_between_a_tenant_and_the_platform_is_refused(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()

    class Theirs(vault.base):
        __tablename__ = "theirs"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str]
        value: Mapped[str] = mapped_column(EncryptedType(String(9), context="shared"))

    class Ours(vault.base):
        __tablename__ = "ours"
        __cmk_tenant__ = None
        id: Mapped[int] = mapped_column(primary_key=True)
        value: Mapped[str] = mapped_column(EncryptedType(String(9), context="shared"))

    vault.create()
    vault.keyring.warm(["", "acme"], new=True)
    with vault.session() as session:
        session.add_all([Theirs(clinic="acme", value="theirs"), Ours(value="ours")])
        session.commit()
        assert (session.get(Theirs, 1).value, session.get(Ours, 1).value) == ("theirs", "ours")
    with vault.engine.begin() as connection:
        moved = connection.execute(text("SELECT theirs.value, ours.value FROM theirs, ours")).one()
        connection.execute(text("UPDATE theirs SET value = :v"), {"v": moved[1]})
        connection.execute(text("UPDATE ours SET value = :v"), {"v": moved[0]})
    for model in (Theirs, Ours):
        with vault.session() as session, pytest.raises(TamperedError, match=model.__tablename__):
            session.get(model, 1)
