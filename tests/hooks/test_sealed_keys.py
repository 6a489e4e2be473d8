"""Deterministic sealed columns as primary and foreign keys."""

from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, delete, insert, select
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from sqlalchemy_cmk import EncryptedType, TenantRequired, UnsupportedOperation, tenant_scope
from tests.support.vault import Vault


def email() -> EncryptedType:
    return EncryptedType(String(50), deterministic=True, context="person.email")


@pytest.fixture
def people(vault: Vault) -> Any:
    """People of tenants, known by their sealed e-mail address, and their visits."""

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        email: Mapped[str] = mapped_column(email(), primary_key=True)
        clinic: Mapped[str] = mapped_column(String(20))
        number: Mapped[int] = mapped_column(default=0)
        made: Mapped[str] = mapped_column(String(20), server_default="by the database")
        visits: Mapped[list["Visit"]] = relationship("Visit", cascade="all, delete-orphan")

    class Visit(vault.base):
        __tablename__ = "visits"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(20))
        email: Mapped[str] = mapped_column(email(), ForeignKey("people.email"))

    vault.create()
    Person.Visit = Visit
    return Person


def fill(vault: Vault, people: Any) -> None:
    with vault.session() as session:
        for clinic, name in (("acme", "ann@acme"), ("acme", "bob@acme"), ("globex", "cid@globex")):
            session.add(people(clinic=clinic, email=name, visits=[people.Visit(clinic=clinic)]))
        session.commit()
        assert sorted(one.made for one in session.scalars(select(people))) == ["by the database"] * 3


def test_several_rows_of_several_tenants_are_inserted_in_one_flush(vault: Vault, people: Any) -> None:
    fill(vault, people)
    with vault.session() as session:
        session.add_all([people(clinic=c, email=f"{n}@{c}") for c in ("acme", "globex") for n in range(3)])
        session.flush()
        session.commit()
        assert len(session.scalars(select(people)).all()) == 9
    for clinic, stored in vault.raw("SELECT clinic, email FROM people"):
        assert vault.owner(stored) == clinic


def test_objects_are_refreshed_changed_and_deleted_without_a_scope(vault: Vault, people: Any) -> None:
    fill(vault, people)
    with vault.session() as session:
        everyone = {one.email: one for one in session.scalars(select(people))}
        one, other = everyone["ann@acme"], everyone["cid@globex"]
        session.refresh(one)
        assert [visit.email for visit in one.visits] == ["ann@acme"]
        one.number, other.number = 1, 2
        session.commit()
        assert (one.number, other.number) == (1, 2)
        session.delete(other)
        session.commit()
        session.delete(one.visits[0])
        session.delete(one)
        session.commit()
        assert [found.email for found in session.scalars(select(people))] == ["bob@acme"]


def test_what_compares_keys_of_several_tenants_at_once_needs_a_scope(vault: Vault, people: Any) -> None:
    fill(vault, people)
    query = select(people).options(selectinload(people.visits))
    with vault.session() as session, pytest.raises(TenantRequired, match="tenant_scope"):
        session.scalars(query).all()
    with vault.session() as session, tenant_scope("acme"):
        found = session.scalars(query.where(people.clinic == "acme")).all()
        assert sorted(visit.email for one in found for visit in one.visits) == ["ann@acme", "bob@acme"]
        assert session.get(people, "ann@acme").clinic == "acme"
        assert session.get(people, "cid@globex") is None
        assert session.execute(delete(people.Visit).where(people.Visit.email == "ann@acme")).rowcount == 1


def test_returning_is_not_sorted_by_a_sealed_key(vault: Vault, people: Any) -> None:
    if not vault.engine.dialect.insert_returning:
        return
    rows = [{"clinic": "acme", "email": f"{n}@acme", "number": n} for n in range(3)]
    with vault.session() as session:
        with pytest.raises(UnsupportedOperation, match="sort_by_parameter_order"):
            session.execute(insert(people).returning(people, sort_by_parameter_order=True), rows)
        session.rollback()
        returned = session.scalars(insert(people).returning(people), rows).all()
        assert sorted(one.email for one in returned) == ["0@acme", "1@acme", "2@acme"]
