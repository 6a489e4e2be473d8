"""A tenant column of any type names the same tenant when a row is written, read, updated and met again."""

import enum
import uuid
from typing import Any

import pytest
from sqlalchemy import CHAR, BigInteger, Enum, Integer, String, Unicode, Uuid, insert, select, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column

from sqlalchemy_cmk import EncryptedType, TamperedError, TenantMismatch, TenantRequired, tenant_scope
from tests.support.vault import Vault

INSERT: dict[str, Any] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}
ID = uuid.UUID("8c0f7a3e-0000-4000-8000-00000000004d")


class Clinic(enum.Enum):
    ACME = "acme clinic"
    GLOBEX = "globex clinic"


TYPES = {
    "String": (String(20), "acme", "globex"),
    "Unicode": (Unicode(20), "ärzte", "globex"),
    "CHAR": (CHAR(20), "acme", "globex"),
    "Integer": (Integer(), 7, 8),
    "BigInteger": (BigInteger(), 2**40, 8),
    "Uuid": (Uuid(), ID, uuid.UUID(int=8)),
    "Uuid as CHAR": (Uuid(native_uuid=False), ID, uuid.UUID(int=8)),
    "Uuid as str": (Uuid(as_uuid=False), str(ID), str(uuid.UUID(int=8))),
    "Enum": (Enum(Clinic), Clinic.ACME, Clinic.GLOBEX),
    "Enum by value": (
        Enum(Clinic, values_callable=lambda members: [one.value for one in members]),
        Clinic.ACME,
        Clinic.GLOBEX,
    ),
}


def patients(base: type[DeclarativeBase], tenant: Any, key: Any = Integer) -> Any:
    class Patient(base):  # type: ignore[valid-type,misc]
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[Any] = mapped_column(key, primary_key=True)
        clinic: Mapped[Any] = mapped_column(tenant)
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        note: Mapped[str | None] = deferred(mapped_column(EncryptedType(String(40))))

    return Patient


def upsert(vault: Vault, model: Any) -> Any:
    statement = INSERT[vault.engine.dialect.name](model.__table__)
    if hasattr(statement, "on_conflict_do_update"):
        return statement.on_conflict_do_update(index_elements=["id"], set_={"ssn": statement.excluded.ssn})
    return statement.on_duplicate_key_update(ssn=statement.inserted.ssn)


@pytest.mark.parametrize("name", TYPES)
def test_a_row_is_written_read_and_changed_for_its_tenant(vault: Vault, name: str) -> None:
    type_, tenant, other = TYPES[name]
    model = patients(vault.base, type_)
    vault.create()
    vault.keyring.warm(
        [getattr(one, "value", one) for one in (tenant, other)],
        ["randomized", "deterministic"],
        new=True,
    )
    with vault.session() as session:
        session.add(model(id=1, clinic=tenant, ssn="1", email="e", note="n"))
        session.execute(insert(model), [{"id": 2, "clinic": other, "ssn": "2"}])
        session.commit()
    vault.restart()
    with vault.session() as session:
        patient = session.get_one(model, 1)
        assert (patient.ssn, patient.email, patient.note) == ("1", "e", "n")
        patient.ssn = "flushed"
        session.commit()
        assert patient.ssn == "flushed"
        session.execute(update(model), [{"id": 1, "ssn": "bulk"}, {"id": 2, "ssn": "bulk"}])
        with tenant_scope(tenant):
            changed = session.execute(update(model).where(model.id < 2).values(note="criteria"))
            assert changed.rowcount == 1
            found = session.scalars(select(model).where(model.email == "e")).one()
            assert found.ssn == "bulk"
        session.execute(upsert(vault, model), [{"id": 1, "clinic": tenant, "ssn": "met"}])
        session.execute(upsert(vault, model), [{"id": 2, "clinic": tenant, "ssn": "never"}])
        session.commit()
    vault.restart()
    with vault.session() as session:
        assert [(p.ssn, p.note) for p in session.scalars(select(model).order_by(model.id))] == [
            ("met", "criteria"),
            ("bulk", None),
        ]


def without_case(vault: Vault) -> String:
    """A text type for which the database holds 'acme' and 'ACME' for the same, as MariaDB does by itself."""
    name = {"sqlite": "NOCASE", "postgresql": "without_case"}.get(vault.engine.dialect.name)
    if name == "without_case":
        with vault.engine.begin() as connection:
            options = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
            connection.exec_driver_sql(f"CREATE COLLATION without_case ({options})")
    return String(20, collation=name)


@pytest.mark.parametrize("knows_case", [True, False])
def test_tenants_that_a_collation_holds_for_equal_stay_apart(vault: Vault, knows_case: bool) -> None:
    model = patients(vault.base, String(20) if knows_case else without_case(vault))
    vault.create()
    with vault.session() as session:
        session.add_all([model(id=1, clinic="acme", ssn="1"), model(id=2, clinic="ACME", ssn="2")])
        session.commit()
    with vault.session() as session, tenant_scope("acme"):
        everyone = update(model).where(model.id > 0).values(ssn="3")
        with pytest.raises(TenantMismatch):
            session.execute(everyone)
        session.execute(upsert(vault, model), [{"id": 2, "clinic": "acme", "ssn": "3"}])
        session.commit()
    stored = vault.raw("SELECT clinic, ssn FROM patients ORDER BY id")
    assert [vault.owner(ssn) for _, ssn in stored] == ["acme", "ACME"]


@pytest.mark.parametrize(("key", "stored", "given"), [(Integer, 1, "1"), (String(20), "abc", "ABC")])
def test_a_key_in_another_spelling_still_finds_the_rows_tenant(
    vault: Vault, key: Any, stored: Any, given: Any
) -> None:
    model = patients(vault.base, String(20), key)
    vault.create()
    with vault.session() as session:
        session.add(model(id=stored, clinic="acme", ssn="1"))
        session.commit()
    same_to_database = vault.engine.dialect.name in ("mysql", "mariadb") or key is Integer
    if key is Integer and vault.engine.dialect.name == "postgresql":
        given = 1.0  # PostgreSQL compares no number with a text
    by_key = update(model).where(model.id == given).values(ssn="2")
    with vault.session() as session, tenant_scope("globex"):
        if same_to_database:
            with pytest.raises(TenantMismatch):
                session.execute(by_key)
            with pytest.raises(TenantMismatch):
                session.execute(update(model), [{"id": given, "ssn": "2"}])
        else:
            assert session.execute(by_key).rowcount == 0
    ((ssn,),) = vault.raw("SELECT ssn FROM patients")
    assert vault.owner(ssn) == "acme"


def test_a_row_whose_stored_tenant_is_none_of_its_type_is_named(vault: Vault) -> None:
    model = patients(vault.base, Enum(Clinic, native_enum=False))
    vault.create()
    with vault.session() as session:
        session.add(model(id=1, clinic=Clinic.ACME, ssn="1"))
        session.commit()
        session.execute(text("UPDATE patients SET clinic = 'OTHER'"))
        session.commit()
        with pytest.raises(TamperedError, match="a row whose tenant column is empty holds a sealed value"):
            session.scalars(select(model)).all()


def test_no_tenant_is_made_of_an_empty_padded_text(vault: Vault) -> None:
    model = patients(vault.base, CHAR(20))
    vault.create()
    with vault.session() as session, pytest.raises(TenantRequired):
        session.add(model(id=1, clinic="   ", ssn="1"))
        session.flush()
