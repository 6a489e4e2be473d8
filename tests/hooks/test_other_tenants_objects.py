"""Objects of another tenant that a session has already are refused in a scope, wherever that can be seen."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    Mapped,
    Session,
    joinedload,
    load_only,
    make_transient,
    mapped_column,
    relationship,
    selectinload,
)

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    TenantMismatch,
    TenantRequired,
    check_scope,
    tenant_scope,
)
from tests.support.vault import Vault


@pytest.fixture
def models(make_vault: Callable[[], Vault]) -> Iterator[Any]:
    vault = make_vault()

    class Models:
        Patient: Any
        Note: Any
        Setting: Any
        Country: Any
        vault: Any

    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ward: Mapped[str | None] = mapped_column(String(40))
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        mother_id: Mapped[int | None] = mapped_column(ForeignKey("patients.id"))
        mother: Mapped["Patient"] = relationship("Patient", remote_side="Patient.id", backref="children")

    class Note(vault.base):
        __tablename__ = "notes"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        text: Mapped[str] = mapped_column(EncryptedType(String(40), owner="platform"))

    class Setting(vault.base):
        __tablename__ = "settings"
        __cmk_tenant__ = None
        id: Mapped[int] = mapped_column(primary_key=True)
        value: Mapped[str] = mapped_column(EncryptedType(String(40)))

    class Country(vault.base):
        __tablename__ = "countries"
        id: Mapped[int] = mapped_column(primary_key=True)

    vault.create()
    with vault.session() as session:
        session.add_all([Patient(id=1, clinic="acme", ssn="1"), Patient(id=2, clinic="globex", ssn="2")])
        session.add_all([Patient(id=3, clinic="acme", ssn="3", mother_id=2)])
        session.add_all([Note(id=1, clinic="globex", text="n"), Setting(id=1, value="s"), Country(id=1)])
        session.commit()
    Models.vault, Models.Patient, Models.Note, Models.Setting = vault, Patient, Note, Setting
    Models.Country = Country
    yield Models


def look_up(session: Session, models: Any) -> Any:
    return session.get(models.Patient, 2)


def look_up_one(session: Session, models: Any) -> Any:
    return session.get_one(models.Patient, 2)


def look_up_by_query(session: Session, models: Any) -> Any:
    return session.query(models.Patient).get(2)


def look_up_anew(session: Session, models: Any) -> Any:
    return session.get(models.Patient, 2, populate_existing=True)


def look_up_locked(session: Session, models: Any) -> Any:
    return session.get(models.Patient, 2, with_for_update=True)


def query(session: Session, models: Any) -> Any:
    return session.scalars(select(models.Patient).where(models.Patient.id == 2)).all()


def merge_onto_it(session: Session, models: Any) -> Any:
    return session.merge(models.Patient(id=2, ward="w"))


def merge_its_copy(session: Session, models: Any) -> Any:
    return session.merge(models.Patient(id=2, clinic="globex", ssn="2"))


def merge_it(session: Session, models: Any) -> Any:
    return session.merge(session.identity_map[session.identity_key(models.Patient, 2)])


def merge_a_relative(session: Session, models: Any) -> Any:
    return session.merge(models.Patient(id=9, clinic="acme", mother=models.Patient(id=2)))


def refresh(session: Session, models: Any) -> Any:
    return session.refresh(session.identity_map[session.identity_key(models.Patient, 2)])


def refresh_a_plain_column(session: Session, models: Any) -> Any:
    return session.refresh(session.identity_map[session.identity_key(models.Patient, 2)], ["ward"])


def lock_a_plain_column(session: Session, models: Any) -> Any:
    found = session.identity_map[session.identity_key(models.Patient, 2)]
    return session.refresh(found, ["ward"], with_for_update=True)


def follow_a_relationship(session: Session, models: Any) -> Any:
    return session.get_one(models.Patient, 3).mother.ssn


def follow_it_at_once(session: Session, models: Any) -> Any:
    return session.get(models.Patient, 3, options=[selectinload(models.Patient.mother)])


def join_it(session: Session, models: Any) -> Any:
    return session.get(models.Patient, 3, options=[joinedload(models.Patient.mother)])


READS = [
    look_up,
    look_up_one,
    look_up_anew,
    look_up_locked,
    query,
    merge_onto_it,
    merge_its_copy,
    merge_it,
    merge_a_relative,
    refresh,
    refresh_a_plain_column,
    lock_a_plain_column,
    follow_a_relationship,
    follow_it_at_once,
    join_it,
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("state", ["loaded", "expired", "partly expired"])
def test_a_loaded_object_is_not_found_in_another_tenants_scope(models: Any, read: Any, state: str) -> None:
    with models.vault.session() as session, session.no_autoflush:
        held = session.get_one(models.Patient, 2)
        if state == "expired":
            session.expire(held)
        elif state == "partly expired":
            session.expire(held, ["clinic", "ward"])
        with tenant_scope("acme"):
            if state != "loaded" and read in (refresh_a_plain_column, lock_a_plain_column):
                read(session, models)  # loads its tenant, and no sealed column
                with pytest.raises(TenantMismatch):
                    session.get(models.Patient, 2)
            else:
                with pytest.raises(TenantMismatch, match=r"'globex'.*tenant_scope\('acme'\)"):
                    read(session, models)
        session.rollback()


@pytest.mark.parametrize("read", READS)
def test_each_of_these_works_in_no_scope_and_in_the_objects_own(models: Any, read: Any) -> None:
    with models.vault.session() as session, session.no_autoflush:
        held = session.get_one(models.Patient, 2)
        read(session, models)
        session.rollback()
        session.get_one(models.Patient, 2)
        if read not in (merge_a_relative, follow_a_relationship, follow_it_at_once, join_it):
            with tenant_scope("globex"):
                read(session, models)
        assert held in session
        session.rollback()


def test_the_legacy_lookup_of_a_query_is_checked_too(models: Any) -> None:
    with models.vault.session() as session:
        held = session.get_one(models.Patient, 2)
        with tenant_scope("acme"), pytest.raises(TenantMismatch), pytest.warns():
            look_up_by_query(session, models)
        assert held.ssn == "2"


def test_an_object_whose_tenant_is_not_loaded_is_asked_for_it(models: Any) -> None:
    with models.vault.session() as session:
        with tenant_scope("globex"):
            only = load_only(models.Patient.ssn)
            held = session.scalars(select(models.Patient).where(models.Patient.id == 2).options(only)).one()
            assert held.ssn == "2" and "clinic" not in vars(held)
            assert session.get(models.Patient, 2) is held
        session.expire(held, ["clinic"])
        with tenant_scope("acme"), pytest.raises(TenantMismatch):
            session.get(models.Patient, 2)


def test_an_object_is_its_rows_and_not_whose_it_is_about_to_be(models: Any) -> None:
    with models.vault.session() as session:
        session.get_one(models.Patient, 2).clinic = "acme"
        with tenant_scope("acme"), session.no_autoflush, pytest.raises(TenantMismatch):
            session.get(models.Patient, 2)


@pytest.mark.parametrize("load", [True, False])
def test_a_detached_object_is_not_merged_in_another_tenants_scope(models: Any, load: bool) -> None:
    with models.vault.session() as session:
        held = session.get_one(models.Patient, 2)
    with models.vault.session() as session:
        with tenant_scope("acme"):
            with pytest.raises(TenantMismatch):
                session.merge(held, load=load)
            with pytest.raises(TenantMismatch):
                session.merge_all([held], load=load) if hasattr(session, "merge_all") else session.merge(held)
            assert list(session.identity_map.values()) == []
        with tenant_scope("globex"):
            assert session.merge(held, load=load).ssn == "2"


def test_a_detached_object_is_not_added_in_another_tenants_scope(models: Any) -> None:
    with models.vault.session() as session:
        held = session.get_one(models.Patient, 2)
    with models.vault.session() as session, tenant_scope("acme"):
        for take_in in (session.add, session.delete, session.enable_relationship_loading):
            with pytest.raises(TenantMismatch):
                take_in(held)
            assert held not in session
    with models.vault.session() as session, tenant_scope("globex"):
        session.add(held)
        assert held in session


def test_a_refused_merge_copies_nothing(models: Any) -> None:
    with models.vault.session() as session:
        held = session.get_one(models.Patient, 2)
        with tenant_scope("acme"), pytest.raises(TenantMismatch):
            session.merge(models.Patient(id=2, clinic="acme", ssn="other"))
        assert (held.clinic, held.ssn) == ("globex", "2") and not session.dirty


def test_the_platforms_objects_are_found_in_every_scope(models: Any) -> None:
    with models.vault.session() as session:
        held = [session.get_one(one, 1) for one in (models.Note, models.Setting, models.Country)]
        with tenant_scope("acme"):
            assert [session.get(type(one), 1) for one in held] == held
            assert [check_scope(one) for one in held] == held
            session.refresh(held[0], ["text"])
            assert session.merge(models.Setting(id=1, value="t")).value == "t"


def test_subclasses_of_session_are_checked_too(models: Any) -> None:
    class Own(Session):
        pass

    with Own(models.vault.engine) as session:
        held = session.get_one(models.Patient, 2)
        with tenant_scope("acme"), pytest.raises(TenantMismatch):
            session.get(models.Patient, 2)
        assert held.ssn == "2"


async def test_asynchronous_sessions_are_checked_too(models: Any) -> None:
    engine = create_async_engine(models.vault.engine.url.set(drivername="sqlite+aiosqlite"))
    async with AsyncSession(engine) as session:
        held = await session.get_one(models.Patient, 2)
        with tenant_scope("acme"):
            with pytest.raises(TenantMismatch):
                await session.get(models.Patient, 2)
            with pytest.raises(TenantMismatch):
                await session.merge(models.Patient(id=2))
            with pytest.raises(TenantMismatch):
                await session.refresh(held, ["ward"])
            with pytest.raises(TenantMismatch):
                check_scope(held)
        session.expire(held, ["clinic"])
        with tenant_scope("acme"), pytest.raises(TenantMismatch):
            await session.get(models.Patient, 2)
    await engine.dispose()


def test_check_scope_answers_for_an_object_from_anywhere(models: Any) -> None:
    with models.vault.session() as session:
        held = session.get_one(models.Patient, 2)
        session.expunge(held)
    new = models.Patient(clinic="globex", ssn="9")
    for one in (held, new):
        with tenant_scope("globex"):
            assert check_scope(one) is one
        with tenant_scope("acme"), pytest.raises(TenantMismatch, match="globex"):
            check_scope(one)
        with pytest.raises(TenantRequired, match="no scope is entered"):
            check_scope(one)
    make_transient(held)
    with tenant_scope("acme"), pytest.raises(TenantMismatch):
        check_scope(held)


def test_check_scope_asks_for_the_tenant_of_what_is_open(models: Any) -> None:
    with models.vault.session() as session, tenant_scope("globex"):
        only = load_only(models.Patient.ssn)
        held = session.scalars(select(models.Patient).where(models.Patient.id == 2).options(only)).one()
        with pytest.raises(TenantRequired, match=r"Patient\.clinic is not loaded"):
            check_scope(held)
        session.expire(held)
        assert check_scope(held) is held


@pytest.mark.parametrize("one", [None, 7, [1]], ids=repr)
def test_check_scope_takes_mapped_objects_only(one: object) -> None:
    with tenant_scope("acme"), pytest.raises(ConfigurationError, match=type(one).__name__):
        check_scope(one)


def test_what_a_scope_does_not_see_is_what_the_page_says(models: Any) -> None:
    with models.vault.session() as session:
        held = session.get_one(models.Patient, 3)
        assert held.mother.ssn == "2"
        with tenant_scope("acme"):
            assert held.mother.ssn == "2"
            assert [one.id for one in session.identity_map.values()] == [3, 2]
            ids = select(models.Patient).options(load_only(models.Patient.ward)).order_by(models.Patient.id)
            assert [one.ssn for one in session.scalars(ids) if one.id != 1] == ["2", "3"]
            for one in (held.mother, session.identity_map[session.identity_key(models.Patient, 2)]):
                with pytest.raises(TenantMismatch):
                    check_scope(one)
