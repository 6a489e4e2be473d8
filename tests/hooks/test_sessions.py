"""Sessions go on as they did: savepoints, rollbacks, autoflush, bulk updates, SELECTs of many kinds."""

from typing import Any

import pytest
from sqlalchemy import (
    ForeignKey,
    String,
    bindparam,
    create_engine,
    exists,
    func,
    insert,
    lambda_stmt,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, aliased, joinedload, mapped_column, relationship

from sqlalchemy_cmk import EncryptedType, TenantMismatch, tenant_scope
from tests.support.vault import Vault


@pytest.fixture
def patient(vault: Vault) -> Any:
    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        mother_id: Mapped[int | None] = mapped_column(ForeignKey("patients.id"))
        mother: Mapped["Patient"] = relationship("Patient", remote_side="Patient.id")

    vault.create()
    vault.keyring.warm(["acme", "globex"], ["randomized", "deterministic"], new=True)
    with vault.session() as session:
        session.add(Patient(id=1, clinic="acme", ssn="1", email="e1"))
        session.add(Patient(id=2, clinic="globex", ssn="2", email="e2"))
        session.add(Patient(id=3, clinic="acme", ssn="3", email="e3", mother_id=1))
        session.commit()
    vault.restart()
    return Patient


def owners(vault: Vault) -> list[str]:
    return [vault.owner(row[0]) for row in vault.raw("SELECT ssn FROM patients ORDER BY id")]


def test_a_savepoint_that_rolls_back_takes_the_move_to_another_tenant_along(
    vault: Vault, patient: Any
) -> None:
    with vault.session() as session:
        moved = session.get_one(patient, 1)
        savepoint = session.begin_nested()
        moved.clinic, moved.ssn = "globex", "lost"
        session.flush()
        savepoint.rollback()
        assert (moved.clinic, moved.ssn, moved.email) == ("acme", "1", "e1")
        moved.ssn = "kept"
        with session.begin_nested():
            moved.email = "kept too"
        session.commit()
    assert owners(vault) == ["acme", "globex", "acme"]
    vault.restart()
    with vault.session() as session:
        assert session.get_one(patient, 1).ssn == "kept"


@pytest.mark.parametrize("fails", [False, True])
def test_a_flush_that_was_undone_leaves_no_tenant_behind_for_later_updates(
    vault: Vault, patient: Any, fails: bool
) -> None:
    with vault.session() as session:
        session.get_one(patient, 1).clinic = "globex"
        if fails:
            session.add(patient(id=2, clinic="acme", ssn="the key is taken"))
            with pytest.raises(IntegrityError):
                session.flush()
        else:
            session.flush()
        session.rollback()
        session.execute(update(patient), [{"id": 1, "ssn": "by key"}])
        session.execute(update(patient).where(patient.id == 3).values(ssn="by key"))
        session.commit()
    assert owners(vault) == ["acme", "globex", "acme"]


def test_an_autoflush_in_another_tenants_scope_is_refused(vault: Vault, patient: Any) -> None:
    with vault.session() as session:
        session.get_one(patient, 1).ssn = "new"
        with pytest.raises(TenantMismatch), tenant_scope("globex"):
            session.scalars(select(patient).where(patient.email == "e2")).all()
        session.rollback()
    assert owners(vault) == ["acme", "globex", "acme"]


@pytest.mark.parametrize("how", ["evaluate", "fetch", "auto"])
def test_a_bulk_update_brings_loaded_objects_up_to_date(vault: Vault, patient: Any, how: Any) -> None:
    with vault.session() as session, tenant_scope("acme"):
        loaded = session.get_one(patient, 1)
        session.execute(
            update(patient).where(patient.clinic == "acme").values(ssn="new"),
            execution_options={"synchronize_session": how},
        )
        assert loaded.ssn == "new"
        session.commit()
        assert loaded.ssn == "new"
    assert owners(vault) == ["acme", "globex", "acme"]


def test_many_rows_are_updated_by_key_each_for_its_tenant(vault: Vault, patient: Any) -> None:
    table = patient.__table__
    with vault.session() as session:
        session.execute(
            update(patient), [{"id": 1, "ssn": "a", "email": None}, {"id": 2, "ssn": "b", "email": "q"}]
        )
        session.connection().execute(
            update(table).where(table.c.id == bindparam("key")),
            [{"key": 2, "ssn": "c"}, {"key": 3, "ssn": "d"}],
        )
        session.commit()
        found = session.scalars(select(patient).order_by(patient.id)).all()
        assert [(one.ssn, one.email) for one in found] == [("a", None), ("c", "q"), ("d", "e3")]
    assert owners(vault) == ["acme", "globex", "acme"]


def test_every_kind_of_select_opens_its_rows(vault: Vault, patient: Any) -> None:
    subquery = select(patient).subquery()
    parts = (select(patient).where(patient.id == 1), select(patient).where(patient.id > 1))
    chain = select(patient.id, patient.clinic, patient.ssn, patient.mother_id).where(patient.id == 3)
    up = chain.cte(recursive=True)
    mothers = select(patient.id, patient.clinic, patient.ssn, patient.mother_id)
    up = up.union_all(mothers.join(up, up.c.mother_id == patient.id))
    with vault.session() as session:
        for entity in (aliased(patient, subquery), aliased(patient, union_all(*parts).subquery())):
            vault.keyring.forget()
            assert sorted(one.ssn for one in session.scalars(select(entity))) == ["1", "2", "3"]
        vault.keyring.forget()
        assert sorted(row.ssn for row in session.execute(select(up))) == ["1", "3"]
        session.expunge_all()
        with_mothers = select(patient).options(joinedload(patient.mother)).order_by(patient.id)
        assert session.scalars(with_mothers).unique().all()[2].mother.ssn == "1"
        written = select(patient).from_statement(text("SELECT * FROM patients ORDER BY id"))
        assert [one.ssn for one in session.scalars(written)] == ["1", "2", "3"]
        frozen = session.execute(select(patient).order_by(patient.id)).freeze()
        session.expunge_all()
        assert [one.ssn for one in frozen().scalars()] == ["1", "2", "3"]


def test_deterministic_values_are_found_inside_other_queries(vault: Vault, patient: Any) -> None:
    same = patient.email.in_(select(patient.email).where(patient.id == 1))
    with vault.session() as session, tenant_scope("acme"):
        assert session.scalars(select(patient.id).where(same)).all() == [1]
        assert (
            session.scalar(select(func.count(patient.email.distinct())).where(patient.clinic == "acme")) == 2
        )
        assert session.scalar(select(exists().where(patient.email == "e1")))
        assert not session.scalar(select(exists().where(patient.email == "e2")))
        assert session.scalar(lambda_stmt(lambda: select(patient.id).where(patient.email == "e3"))) == 3


def test_rows_are_streamed_cold_over_the_only_connection(vault: Vault, patient: Any) -> None:
    if vault.engine.dialect.name == "sqlite":
        engine = create_engine(vault.engine.url)
    else:
        engine = create_engine(vault.engine.url, pool_size=1, max_overflow=0, pool_timeout=30)
    streamed = select(patient).order_by(patient.id).execution_options(yield_per=1)
    with Session(engine) as session:
        seen = []
        for one in session.scalars(streamed):
            seen.append(one.ssn)
            vault.keyring.forget()
    engine.dispose()
    assert seen == ["1", "2", "3"]


def test_an_engine_that_commits_each_statement_works_too(vault: Vault, patient: Any) -> None:
    engine = vault.engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(engine) as session:
        session.execute(insert(patient), [{"id": 8, "clinic": "acme", "ssn": "8"}])
    with Session(engine) as session:
        assert session.get_one(patient, 8).ssn == "8"
