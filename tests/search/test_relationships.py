"""Relationships whose condition compares two sealed columns with equal indexes."""

from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, String, and_, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    contains_eager,
    foreign,
    immediateload,
    joinedload,
    lazyload,
    mapped_column,
    relationship,
    remote,
    selectinload,
    subqueryload,
    with_parent,
)

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.search import Exact
from tests.support.vault import Vault


@pytest.fixture
def models(make_vault: Any) -> Any:
    vault: Vault = make_vault()

    def sealed() -> Any:
        return mapped_column(EncryptedType(String(40), index=[Exact()], context="email"), nullable=True)

    class Login(vault.base):
        __tablename__ = "logins"
        id: Mapped[int] = mapped_column(primary_key=True)
        email = sealed()

    class Person(vault.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        email = sealed()
        logins = relationship(Login, primaryjoin=lambda: Person.email == foreign(Login.email), uselist=True)
        dynamic = relationship(
            Login, primaryjoin=lambda: Person.email == foreign(Login.email), viewonly=True, lazy="dynamic"
        )
        written = relationship(
            Login, primaryjoin=lambda: Person.email == foreign(Login.email), viewonly=True, lazy="write_only"
        )

    vault.create()
    with vault.session() as session:
        session.add_all([Login(id=1, email="a@b"), Login(id=2, email="a@b"), Login(id=3, email="c@d")])
        session.add_all([Person(id=1, email="a@b"), Person(id=2, email="x")])
        session.commit()
    return vault, Person, Login


@pytest.mark.parametrize("load", [joinedload, selectinload, subqueryload, lazyload, immediateload])
def test_a_relationship_is_loaded_by_tokens(models: Any, load: Any) -> None:
    vault, Person, _ = models
    with vault.session() as session:
        people = session.scalars(select(Person).options(load(Person.logins)).order_by(Person.id)).unique()
        assert [sorted(login.id for login in person.logins) for person in people] == [[1, 2], []]


def test_a_relationship_is_joined_and_asked_by_tokens(models: Any) -> None:
    vault, Person, Login = models
    with vault.session() as session:
        assert session.scalars(select(Login.id).join(Person.logins).order_by(Login.id)).all() == [1, 2]
        asked = select(Person.id).where(Person.logins.any(Login.email == "a@b"))
        assert session.scalars(asked).all() == [1]
        assert session.scalars(select(Person.id).where(~Person.logins.any())).all() == [2]
        with_logins = select(Person).join(Person.logins).options(contains_eager(Person.logins))
        assert [len(one.logins) for one in session.scalars(with_logins).unique()] == [2]


def test_what_belongs_to_an_object_is_asked_by_tokens(models: Any) -> None:
    vault, Person, Login = models
    with vault.session() as session:
        person, login = session.get_one(Person, 1), session.get_one(Login, 1)
        mine = select(Login.id).where(with_parent(person, Person.logins)).order_by(Login.id)
        assert session.scalars(mine).all() == [1, 2]
        assert [one.id for one in person.dynamic.order_by(Login.id)] == [1, 2]
        assert [one.id for one in session.scalars(person.written.select().order_by(Login.id))] == [1, 2]
        assert session.scalars(select(Person.id).where(Person.logins.contains(login))).all() == [1]


def test_a_flush_gives_what_is_added_the_value_that_is_compared(models: Any) -> None:
    vault, Person, Login = models
    with vault.session() as session:
        person = session.get_one(Person, 2)
        person.logins.append(Login(id=9))
        session.commit()
        assert session.get_one(Login, 9).email == "x"
        assert session.scalars(select(Login.id).where(Login.email == "x")).all() == [9]
        person.logins.clear()
        session.commit()
        assert session.get_one(Login, 9).email is None


def test_between_tables_of_tenants_each_row_has_those_of_its_own(make_vault: Any) -> None:
    vault: Vault = make_vault()

    def same() -> Any:
        return and_(foreign(Login.email) == Person.email, Login.owner == Person.owner)

    class Login(vault.base):
        __tablename__ = "logins"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str]
        email: Mapped[str | None] = mapped_column(EncryptedType(String(9), index=[Exact()], context="email"))
        person = relationship("Person", primaryjoin=same, back_populates="logins")

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str]
        email: Mapped[str] = mapped_column(EncryptedType(String(9), index=[Exact()], context="email"))
        logins = relationship(Login, primaryjoin=same, back_populates="person")

    vault.create()
    with vault.session() as session:
        session.add_all(
            [Person(id=n, owner=owner, email="x") for n, owner in enumerate(("acme", "globex"), 1)]
        )
        session.add_all([Login(id=1, owner="acme", email="x"), Login(id=2, owner="globex", email="x")])
        session.add(Login(id=3, owner="globex"))
        session.commit()
        for load in (lazyload, selectinload, subqueryload, joinedload):
            session.expunge_all()
            logins = session.scalars(select(Login).options(load(Login.person)).order_by(Login.id))
            assert [one.person and one.person.id for one in logins] == [1, 2, None]
        login = session.get_one(Login, 3)
        login.person = session.get_one(Person, 2)
        session.commit()
        session.expire_all()
        assert sorted(one.id for one in session.get_one(Person, 2).logins) == [2, 3]


def test_a_subquery_load_goes_through_relationships_of_either_kind(make_vault: Any) -> None:
    vault: Vault = make_vault()

    class Node(vault.base):
        __tablename__ = "nodes"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
        name: Mapped[str] = mapped_column(EncryptedType(String(40), index=[Exact()]))
        children = relationship("Node", order_by="Node.id")
        alike = relationship(
            "Node",
            primaryjoin=lambda: Node.name == foreign(remote(Node.name)),
            viewonly=True,
            lazy="subquery",
            order_by="Node.id",
        )

    vault.create()
    with vault.session() as session:
        names, parents = "abacab", (None, 1, 1, 2, 3, 4)
        session.add_all(
            Node(id=i, name=name, parent=parent)
            for i, (name, parent) in enumerate(zip(names, parents, strict=True), 1)
        )
        session.commit()
        through = (
            subqueryload(Node.children).subqueryload(Node.alike).subqueryload(Node.children),
            subqueryload(Node.alike).subqueryload(Node.children).subqueryload(Node.alike),
        )
        for options in ((), *((one,) for one in through)):
            session.expunge_all()
            first = session.scalars(select(Node).where(Node.id.in_([1])).options(*options)).one()
            assert [one.id for one in first.alike] == [1, 3, 5]
            assert [[one.id for one in child.alike] for child in first.children] == [[2, 6], [1, 3, 5]]
            assert [
                [[one.id for one in other.children] for other in child.alike] for child in first.children
            ] == [
                [[4], []],
                [[2, 3], [5], []],
            ]


def test_models_of_many_bases_are_configured_each_for_itself() -> None:
    made = []
    for _ in range(100):
        base: Any = type("Base", (DeclarativeBase,), {})
        columns = {"id": mapped_column(primary_key=True, type_=Integer)}
        columns["name"] = mapped_column(EncryptedType(String(9)))
        made.append(type("Patient", (base,), {"__tablename__": "patients", **columns}))
    assert made[50](id=1).id == 1
