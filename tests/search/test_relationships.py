"""Relationships whose condition compares two sealed columns with equal indexes."""

from typing import Any

import pytest
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, foreign, joinedload, mapped_column, relationship, selectinload

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.search import Exact
from tests.support.vault import Vault


@pytest.fixture
def models(make_vault: Any) -> Any:
    vault: Vault = make_vault()

    def sealed() -> Any:
        return mapped_column(EncryptedType(String(40), index=[Exact()], context="email"))

    class Login(vault.base):
        __tablename__ = "logins"
        id: Mapped[int] = mapped_column(primary_key=True)
        email = sealed()

    class Person(vault.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        email = sealed()
        logins = relationship(
            Login, primaryjoin=lambda: Person.email == foreign(Login.email), viewonly=True, uselist=True
        )

    vault.create()
    with vault.session() as session:
        session.add_all([Login(id=1, email="a@b"), Login(id=2, email="a@b"), Login(id=3, email="c@d")])
        session.add_all([Person(id=1, email="a@b"), Person(id=2, email="x")])
        session.commit()
    return vault, Person, Login


@pytest.mark.parametrize("load", [joinedload, selectinload])
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
