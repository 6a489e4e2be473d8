"""What sealed columns answer in SQL, and what they refuse."""

from typing import Any

import pytest
from sqlalchemy import String, bindparam, delete, distinct, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, aliased, mapped_column

from sqlalchemy_cmk import EncryptedType, TenantRequired, UnsupportedOperation, tenant_scope
from tests.support.vault import Vault


@pytest.fixture
def people(vault: Vault) -> Any:
    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        secret: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(
            EncryptedType(String(40), deterministic=True, context="email"), unique=True
        )
        city: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))

    class Account(vault.base):
        __tablename__ = "accounts"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        login: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True, context="email"))

    vault.create()
    with vault.session() as session:
        for clinic in ("acme", "globex"):
            session.add_all(
                [
                    Person(clinic=clinic, email="ann@x", city="Bern", secret="s1"),
                    Person(clinic=clinic, email="bob@x", city="Bern", secret="s2"),
                    Person(clinic=clinic, email="cid@x", city=None, secret=None),
                    Account(clinic=clinic, login="bob@x"),
                ]
            )
        session.commit()
    Person.account = Account
    return Person


def ids(vault: Vault, *criteria: Any, model: Any) -> list[int]:
    with vault.session() as session, tenant_scope("acme"):
        return list(session.scalars(select(model.id).where(*criteria).order_by(model.id)))


def test_a_deterministic_column_answers_equality_within_the_tenant(vault: Vault, people: Any) -> None:
    vault.restart()
    assert ids(vault, people.email == "ann@x", model=people) == [1]
    assert ids(vault, people.email != "ann@x", people.clinic == "acme", model=people) == [2, 3]
    assert ids(vault, people.email.in_(["ann@x", "cid@x"]), model=people) == [1, 3]
    assert ids(vault, people.email.not_in(["ann@x"]), people.clinic == "acme", model=people) == [2, 3]
    assert ids(vault, people.city.is_(None), people.clinic == "acme", model=people) == [3]
    assert ids(vault, people.secret.is_(None), people.clinic == "acme", model=people) == [3]
    assert ids(vault, people.secret.is_not(None), people.clinic == "acme", model=people) == [1, 2]
    typed = bindparam("e", "bob@x", type_=people.email.type)
    assert ids(vault, people.email == typed, model=people) == [2]


def test_named_parameters_are_sealed_for_the_scope(vault: Vault, people: Any) -> None:
    one = select(people.id).where(people.email == bindparam("e"))
    several = select(people.id).where(people.email.in_(bindparam("e", expanding=True)))
    with vault.session() as session, tenant_scope("acme"):
        assert session.scalars(one, {"e": "bob@x"}).all() == [2]
        assert sorted(session.scalars(several, {"e": ["ann@x", "bob@x"]})) == [1, 2]
        assert session.execute(delete(people).where(people.email == "cid@x")).rowcount == 1


def test_a_comparison_needs_a_tenant(vault: Vault, people: Any) -> None:
    named = people.email == "ann@x"
    with vault.session() as session:
        for uncertain in (named, named & (people.id > 0), named | (people.clinic == "acme")):
            with pytest.raises(TenantRequired, match="tenant_scope"):
                session.scalars(select(people).where(uncertain))
        for tenant in ("acme", "globex"):
            found = session.scalars(select(people).where(named, people.clinic == tenant)).all()
            assert [one.clinic for one in found] == [tenant]
            given = select(people.id).where(people.clinic == bindparam("c"), people.email == bindparam("e"))
            assert session.scalars(given, {"c": tenant, "e": "ann@x"}).all() == [found[0].id]


def test_columns_of_one_context_join(vault: Vault, people: Any) -> None:
    query = select(people.id).join(people.account, people.account.login == people.email)
    other = aliased(people)
    with vault.session() as session:
        assert sorted(session.scalars(query)) == [2, 5]
        pairs = select(people.id, other.id).join(other, people.city == other.city).where(people.id < other.id)
        assert sorted(map(tuple, session.execute(pairs))) == [(1, 2), (4, 5)]
        inner = select(people.account.login).where(people.account.clinic == "acme")
        assert session.scalars(select(people.id).where(people.email.in_(inner))).all() == [2]


def test_distinct_and_group_by_count_equal_values(vault: Vault, people: Any) -> None:
    mine = people.clinic == "acme"
    with vault.session() as session:
        assert session.scalars(
            select(people.city).where(mine, people.city.is_not(None)).distinct()
        ).all() == ["Bern"]
        assert session.scalar(select(func.count(distinct(people.city))).where(mine)) == 1
        counted = session.execute(select(people.city, func.count()).where(mine).group_by(people.city)).all()
    assert sorted(map(tuple, counted), key=str) == [("Bern", 2), (None, 1)]


def test_unique_holds_within_a_tenant_and_after_a_rotation_of_the_seal_dek(vault: Vault, people: Any) -> None:
    vault.keyring.lifecycle.rotate_dek("acme")
    vault.restart()
    with vault.session() as session:
        session.add(people(clinic="acme", email="new@x", secret="new"))
        session.commit()
        session.add(people(clinic="acme", email="ann@x"))
        with pytest.raises(IntegrityError) as caught:
            session.commit()
        assert "ann@x" not in str(caught.value)
    assert ids(vault, people.email == "ann@x", model=people) == [1]
    with vault.session() as session:
        assert set(session.scalars(select(people.secret).where(people.clinic == "acme"))) == {
            "s1",
            "s2",
            None,
            "new",
        }


REFUSED = {
    "equality": lambda p: p.secret == "x",
    "membership": lambda p: p.secret.in_(["x"]),
    "less": lambda p: p.email < "x",
    "between": lambda p: p.email.between("a", "b"),
    "like": lambda p: p.email.like("a%"),
    "contains": lambda p: p.secret.contains("a"),
    "startswith": lambda p: p.email.startswith("a"),
    "add": lambda p: p.secret + "x",
    "concat": lambda p: "x" + p.email,
    "desc": lambda p: p.email.desc(),
    "asc": lambda p: p.secret.asc(),
    "collate": lambda p: p.email.collate("C"),
    "match": lambda p: p.email.regexp_match("a"),
    "column": lambda p: p.secret == p.email,
    "contexts": lambda p: p.email == p.city,
    "plain": lambda p: p.email == p.clinic,
    "parameter of another type": lambda p: p.email == bindparam("e", "bob@x"),
    "literals in a list": lambda p: p.email.in_([literal("bob@x")]),
}


@pytest.mark.parametrize("operation", REFUSED)
def test_what_sealed_bytes_cannot_answer_is_refused_before_it_is_sent(
    make_vault: Any, operation: str
) -> None:
    vault = make_vault()
    people = declared(vault)
    vault.create()
    criterion = REFUSED[operation](people)
    with vault.session() as session, pytest.raises(UnsupportedOperation, match=r"sealed|compared"):
        session.execute(select(people.id).where(criterion))


def test_core_columns_that_could_never_be_equal_are_refused(make_vault: Any) -> None:
    vault = make_vault()
    table = declared(vault).__table__
    vault.create()
    for left, right, reason in (
        (table.c.secret, table.c.email, "random nonce"),
        (table.c.email, table.c.secret, "same context"),
        (table.c.email, table.c.city, "same context"),
        (table.c.email, table.c.clinic, "plain"),
        (table.c.clinic, table.c.email, "plain"),
    ):
        with vault.engine.connect() as connection, pytest.raises(UnsupportedOperation, match=reason):
            connection.execute(select(table).where(left == right))
    assert table.c.secret in [table.c.city, table.c.secret] and table.c.secret not in [table.c.city]


def test_orders_and_groups_of_sealed_bytes_are_refused_when_executed(make_vault: Any) -> None:
    vault = make_vault()
    people = declared(vault)
    vault.create()
    refused = [
        select(people).order_by(people.secret),
        select(people).order_by(people.email),
        select(people.secret).distinct(),
        select(people.secret, func.count()).group_by(people.secret),
    ]
    with vault.session() as session:
        for statement in refused:
            with pytest.raises(UnsupportedOperation):
                session.execute(statement)


def test_a_literal_is_never_rendered(make_vault: Any) -> None:
    people = declared(make_vault())
    with pytest.raises(UnsupportedOperation, match="literal"):
        select(people).where(people.email == "ann@x").compile(compile_kwargs={"literal_binds": True})
    with pytest.raises(UnsupportedOperation) as caught:
        select(literal("ann@x", people.email.type)).compile(compile_kwargs={"literal_binds": True})
    assert "ann@x" not in str(caught.value)


def declared(vault: Vault) -> Any:
    class Person(vault.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str]
        secret: Mapped[str] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))
        city: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))

    return Person
