"""The row decides: every way to write seals a value for the tenant that its row names."""

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Mapped, deferred, mapped_column, relationship

from sqlalchemy_cmk import (
    EncryptedType,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    tenant_scope,
)
from tests.support.vault import Vault

SECRET = "078-05-1120"


@pytest.fixture
def models(vault: Vault) -> Any:
    class Models:
        class Clinic(vault.base):
            __tablename__ = "clinics"
            name: Mapped[str] = mapped_column(String(40), primary_key=True)
            patients: Mapped[list["Models.Patient"]] = relationship(
                "Patient", back_populates="owner", cascade="all, delete-orphan"
            )

        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            __table_args__ = (UniqueConstraint("number"),)
            id: Mapped[int] = mapped_column(primary_key=True)
            number: Mapped[int | None]
            clinic: Mapped[str] = mapped_column("clinic_name", String(40), ForeignKey("clinics.name"))
            ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
            email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
            note: Mapped[str | None] = deferred(mapped_column(EncryptedType(String(40))))
            state: Mapped[str] = mapped_column(EncryptedType(String(10)), default="new", onupdate="seen")
            owner: Mapped["Models.Clinic"] = relationship("Clinic", back_populates="patients")

    vault.create()
    with vault.session() as session:
        session.add_all([Models.Clinic(name="acme"), Models.Clinic(name="globex")])
        session.commit()
    return Models


def owners(vault: Vault) -> list[str]:
    """The rows' tenants, once it is sure that all that is stored in a row is sealed for its tenant."""
    seen = []
    rows = vault.raw("SELECT clinic_name, ssn, email, note, state FROM patients ORDER BY id")
    for clinic, *stored in rows:
        assert {vault.owner(one) for one in stored if one is not None} <= {clinic}
        assert all(SECRET.encode() not in bytes(one) for one in stored if one is not None)
        seen.append(clinic)
    return seen


def values(vault: Vault, models: Any) -> list[tuple[Any, ...]]:
    vault.restart()
    query = select(models.Patient.clinic, models.Patient.ssn, models.Patient.state).order_by(
        models.Patient.id
    )
    with vault.session() as session:
        return [tuple(row) for row in session.execute(query)]


def test_add_all_of_several_tenants_in_one_flush(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        session.add_all([models.Patient(clinic=c, ssn=SECRET, email="x") for c in ("acme", "globex", "acme")])
        session.commit()
    assert owners(vault) == ["acme", "globex", "acme"]
    assert values(vault, models)[1] == ("globex", SECRET, "new")


def test_merge_and_update_of_one_attribute(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        session.merge(models.Patient(id=7, clinic="acme", ssn="1"))
        session.commit()
        merged = session.merge(models.Patient(id=7, clinic="acme", ssn=SECRET))
        session.commit()
        assert merged.ssn == SECRET and merged.state == "seen"
    assert owners(vault) == ["acme"]


def test_a_relationship_gives_the_tenant_by_cascade(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        clinic = models.Clinic(
            name="new clinic", patients=[models.Patient(ssn=SECRET), models.Patient(ssn="2")]
        )
        session.add(clinic)
        session.commit()
        clinic.patients[0].owner = session.get(models.Clinic, "acme")
        session.commit()
    assert owners(vault) == ["acme", "new clinic"]


def test_bulk_inserts(vault: Vault, models: Any) -> None:
    rows = [{"clinic": "acme", "ssn": SECRET}, {"clinic": "globex", "ssn": "2"}]
    with vault.session() as session:
        session.execute(insert(models.Patient), rows)
        session.execute(insert(models.Patient).values([dict(row) for row in rows]))
        session.execute(insert(models.Patient).values(clinic="globex", ssn=SECRET))
        session.bulk_insert_mappings(models.Patient, rows)
        session.bulk_save_objects([models.Patient(**row) for row in rows])
        session.commit()
    assert rows[0] == {"clinic": "acme", "ssn": SECRET}
    assert owners(vault) == ["acme", "globex"] * 2 + ["globex"] + ["acme", "globex"] * 2
    assert {ssn for _, ssn, _ in values(vault, models)} == {SECRET, "2"}


def test_insert_returning(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        rows = [{"clinic": "acme", "ssn": SECRET}, {"clinic": "globex", "ssn": "2"}]
        returned = session.scalars(insert(models.Patient).returning(models.Patient), rows).all()
        assert sorted((p.clinic, p.ssn) for p in returned) == [("acme", SECRET), ("globex", "2")]
        session.commit()
    assert owners(vault) == ["acme", "globex"]


def test_bulk_updates_by_primary_key(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        session.add_all([models.Patient(id=1, clinic="acme"), models.Patient(id=2, clinic="globex")])
        session.commit()
        session.execute(update(models.Patient), [{"id": 1, "ssn": SECRET}, {"id": 2, "ssn": "2"}])
        session.bulk_update_mappings(models.Patient, [{"id": 2, "email": "x"}])
        session.execute(update(models.Patient).where(models.Patient.id == 1).values(note=SECRET))
        session.commit()
    assert owners(vault) == ["acme", "globex"]
    assert [row[1] for row in values(vault, models)] == [SECRET, "2"]


def test_a_bulk_update_is_for_the_tenant_that_its_criteria_or_scope_name(vault: Vault, models: Any) -> None:
    patient = models.Patient
    with vault.session() as session:
        session.add_all([patient(clinic=c, ssn="old") for c in ("acme", "globex", "acme")])
        session.commit()
        loaded = session.scalars(select(patient).where(patient.clinic == "acme")).first()
        of_acme = patient.clinic == "acme"
        for uncertain in (
            patient.id > 0,
            of_acme | (patient.id < 0),
            patient.clinic.in_(["acme"]),
            ~~and_(of_acme, patient.id > 0),
        ):
            with pytest.raises(TenantRequired):
                session.execute(update(patient).where(uncertain).values(ssn="nobody's"))
        session.execute(update(patient).where(patient.id > 0, of_acme).values(ssn="named"))
        assert loaded.ssn == "named"
        with pytest.raises(TenantMismatch):
            session.execute(update(patient).where(of_acme, patient.clinic == "globex").values(ssn="both"))
        with tenant_scope("globex"), pytest.raises(TenantMismatch):
            session.execute(update(patient).where(of_acme).values(ssn="another scope's"))
        with tenant_scope("acme"):
            assert (
                session.execute(update(patient).where(patient.clinic == "acme").values(ssn=SECRET)).rowcount
                == 2
            )
            assert loaded.ssn == SECRET
            with pytest.raises(TenantMismatch):
                session.execute(update(patient).values(ssn="everybody's"))
        session.commit()
    assert owners(vault) == ["acme", "globex", "acme"]
    assert [row[1] for row in values(vault, models)] == [SECRET, "old", SECRET]


def test_changing_the_tenant_seals_every_column_anew_even_those_not_loaded(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        session.add(models.Patient(id=1, clinic="acme", ssn=SECRET, email="x", note="n"))
        session.commit()
    with vault.session() as session:
        session.get(models.Patient, 1).clinic = "globex"
        session.commit()
        assert session.get(models.Patient, 1).note == "n"
    assert owners(vault) == ["globex"]


def test_a_core_statement_cannot_move_a_row_and_leave_its_values_behind(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        session.add(models.Patient(id=1, clinic="acme", ssn=SECRET))
        session.commit()
        with pytest.raises(UnsupportedOperation):
            session.execute(update(models.Patient).values(clinic="globex"))
        with pytest.raises(UnsupportedOperation):
            session.execute(update(models.Patient), [{"id": 1, "clinic": "globex"}])
        session.rollback()
    assert owners(vault) == ["acme"]


def upsert(vault: Vault, models: Any, changes: Any, rows: Any) -> Any:
    """An upsert by ``number``, in the database's own words."""
    if vault.engine.dialect.name in ("mysql", "mariadb"):
        statement: Any = mysql.insert(models.Patient).values(rows)
        return statement.on_duplicate_key_update(changes(statement.inserted))
    kind: Any = {"sqlite": sqlite, "postgresql": postgresql}[vault.engine.dialect.name]
    statement = kind.insert(models.Patient).values(rows)
    return statement.on_conflict_do_update(index_elements=["number"], set_=changes(statement.excluded))


def test_upserts_seal_new_and_changed_values(vault: Vault, models: Any) -> None:
    rows = [{"number": 1, "clinic": "acme", "ssn": "1"}, {"number": 2, "clinic": "globex", "ssn": "2"}]
    with vault.session() as session:
        session.execute(upsert(vault, models, lambda new: {"ssn": new.ssn}, rows))
        session.execute(upsert(vault, models, lambda new: {"ssn": SECRET}, rows[:1]))
        session.execute(upsert(vault, models, lambda new: {"ssn": new.ssn}, [{**rows[1], "ssn": "3"}]))
        session.commit()
    assert owners(vault) == ["acme", "globex"]
    assert [row[1] for row in values(vault, models)] == [SECRET, "3"]


def test_an_upsert_that_meets_another_tenants_row_leaves_it_alone(vault: Vault, models: Any) -> None:
    with vault.session() as session:
        session.add(models.Patient(number=1, clinic="acme", ssn="theirs"))
        session.commit()
        row = {"number": 1, "clinic": "globex", "ssn": SECRET}
        session.execute(upsert(vault, models, lambda new: {"ssn": new.ssn}, [row]))
        session.commit()
    assert owners(vault) == ["acme"] and values(vault, models)[0][1] == "theirs"


@pytest.mark.parametrize("tenant", [None, "", "missing"])
def test_a_row_without_a_tenant_is_refused_whatever_the_scope(vault: Vault, models: Any, tenant: Any) -> None:
    row = {"ssn": SECRET} if tenant == "missing" else {"ssn": SECRET, "clinic": tenant}
    with vault.session() as session, tenant_scope("acme"):
        with pytest.raises(TenantRequired):
            session.execute(insert(models.Patient), [row])
        session.add(models.Patient(**row))
        with pytest.raises(TenantRequired):
            session.flush()
        session.rollback()
    assert owners(vault) == []


def test_sql_cannot_write_a_plaintext(vault: Vault, models: Any) -> None:
    patient = models.Patient
    with vault.session() as session:
        for value in (func.upper(SECRET), literal_column(f"'{SECRET}'"), bindparam("p", SECRET, String())):
            with pytest.raises(UnsupportedOperation):
                session.execute(insert(patient).values(clinic="acme", ssn=value))
            with tenant_scope("acme"), pytest.raises(UnsupportedOperation):
                session.execute(update(patient).values(ssn=value))
            session.add(patient(clinic="acme", ssn=value))
            with pytest.raises(UnsupportedOperation):
                session.flush()
            session.rollback()
        with pytest.raises(UnsupportedOperation):
            session.execute(
                insert(patient).from_select(["clinic", "ssn"], select(models.Clinic.name, models.Clinic.name))
            )
        session.rollback()
    assert owners(vault) == []


def test_a_table_without_a_model_names_its_tenant_column_in_its_info(vault: Vault) -> None:
    notes = Table(
        "notes",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", Integer),
        Column("text", EncryptedType(String(40))),
        info={"cmk_tenant": "owner"},
    )
    vault.create()
    vault.keyring.warm([1, 2, 3], new=True)
    with vault.engine.begin() as connection:
        connection.execute(notes.insert(), [{"owner": 1, "text": SECRET}, {"owner": 2, "text": "b"}])
        connection.execute(
            notes.insert().values(owner=bindparam("o"), text=bindparam("t")), [{"o": 3, "t": "c"}]
        )
        with tenant_scope("2"):
            connection.execute(notes.update().where(notes.c.owner == 2).values(text="changed"))
        with tenant_scope("1"), pytest.raises(TenantMismatch):
            connection.execute(notes.insert(), {"owner": 2, "text": "x"})
    assert [vault.owner(row[0]) for row in vault.raw("SELECT text FROM notes ORDER BY id")] == ["1", "2", "3"]
    with vault.engine.connect() as connection:
        assert connection.execute(
            select(notes.c.text, notes.c.owner).order_by(notes.c.id)
        ).scalars().all() == [
            SECRET,
            "changed",
            "c",
        ]
