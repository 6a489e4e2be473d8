"""What may not be done with sealed columns in SQL: it is refused, and nothing is sent."""

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Column,
    Integer,
    String,
    Table,
    column,
    event,
    func,
    insert,
    select,
    table,
    type_coerce,
    update,
)
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.orm import Mapped, aliased, column_property, joinedload, mapped_column, relationship, undefer

from sqlalchemy_cmk import EncryptedType, TenantMismatch, UnsupportedOperation, tenant_scope
from tests.hooks.places import declare, people, sealed
from tests.hooks.refused import REFUSED
from tests.support.vault import Vault

__all__ = ["people"]

# SQLAlchemy 2.0 warns of DISTINCT ON where the database has none, and leaves it out.
pytestmark = pytest.mark.filterwarnings("ignore:DISTINCT ON:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def filled(make_vault: Any) -> tuple[Vault, Any]:
    """The people and accounts on SQLite."""
    vault = make_vault()
    return vault, declare(vault)


@pytest.mark.parametrize("what", REFUSED)
def test_what_sealed_columns_cannot_answer_is_refused_and_not_sent(
    filled: tuple[Vault, Any], what: str
) -> None:
    refuses(*filled, REFUSED[what])


@pytest.mark.parametrize("part", range(4))
def test_all_of_it_is_refused_on_each_database(vault: Vault, people: Any, part: int) -> None:
    for what in list(REFUSED)[part::4]:
        refuses(vault, people, REFUSED[what], what)


def refuses(vault: Vault, people: Any, make: Any, what: str = "") -> None:
    sent: list[str] = []
    with vault.session() as session, tenant_scope("acme"):
        connection = session.connection()
        statement = make(people, people.account)
        count_sent(connection, sent)
        try:
            session.execute(statement).all()
        except UnsupportedOperation as error:
            assert "PLAIN" not in str(error)
        except Exception as error:
            # The database's own compiler knows no such thing, and says so before anything is sent.
            assert type(error).__name__ in ("CompileError", "UnsupportedCompilationError"), (what, error)
        else:
            pytest.fail(f"{what}: not refused")
        assert not [one for one in sent if "cmk_" not in one], what


def count_sent(connection: Any, sent: list[str]) -> None:
    event.listen(connection, "after_cursor_execute", lambda *sees: sent.append(sees[2]))


def test_what_the_orm_adds_is_looked_at(make_vault: Any) -> None:
    vault = make_vault()

    class Owner(vault.base):
        __tablename__ = "owners"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = sealed(deterministic=True)
        pets: Mapped[list["Pet"]] = relationship(
            lambda: Pet,
            primaryjoin=lambda: Owner.email == Pet.owner,
            foreign_keys=lambda: Pet.owner,
            viewonly=True,
        )
        ordered: Mapped[list["Pet"]] = relationship(
            lambda: Pet,
            primaryjoin=lambda: Owner.id == Pet.id,
            foreign_keys=lambda: Pet.id,
            order_by=lambda: Pet.owner,
            viewonly=True,
        )

    class Pet(vault.base):
        __tablename__ = "pets"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = sealed(deterministic=True)

    Owner.lower = column_property(func.lower(Owner.email), deferred=True)
    vault.create()
    refused = [
        select(Owner).options(joinedload(Owner.pets)),
        select(Owner).options(joinedload(Owner.ordered)),
        select(Owner).options(undefer(Owner.lower)),
        select(Owner.lower),
        select(Owner.id).join(Owner.pets),
        select(select(Owner.id).join(Owner.pets).subquery()),
        select(Owner.id).where(Owner.pets.any()),
        select(aliased(Owner).lower),
    ]
    with vault.session() as session:
        assert session.scalars(select(Owner)).all() == []
        for statement in refused:
            with pytest.raises(UnsupportedOperation):
                session.execute(statement)
        session.add(Owner(id=1, email="x"))
        session.commit()
        with pytest.raises(UnsupportedOperation):
            _ = session.get_one(Owner, 1).pets


def test_a_table_whose_columns_were_replaced_is_not_written(make_vault: Any) -> None:
    vault = make_vault()
    old = Table(
        "notes",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("text", EncryptedType(String(40))),
    )
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(insert(old).values(id=1, text="x"))
    stale = old.c.text
    new = Table("notes", vault.base.metadata, Column("text", EncryptedType(String(9))), extend_existing=True)
    with vault.engine.begin() as connection:
        connection.execute(insert(new).values(id=2, text="x"))
        with pytest.raises(UnsupportedOperation, match="sealed for"):
            connection.execute(update(table("notes", column("text", stale.type))).values(text="y"))
    assert [len(bytes(row[0])) > 30 for row in vault.raw("SELECT text FROM notes")] == [True, True]


@pytest.mark.parametrize("context", [None, "name"])
def test_concrete_inheritance_needs_one_context(make_vault: Any, context: str | None) -> None:
    vault = make_vault()

    class Employee(ConcreteBase, vault.base):
        __tablename__ = "employees"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = sealed(context=context)
        __mapper_args__ = {"polymorphic_identity": "employee", "concrete": True}  # noqa: RUF012

    class Manager(Employee):
        __tablename__ = "managers"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = sealed(context=context)
        room: Mapped[str] = sealed()
        __mapper_args__ = {"polymorphic_identity": "manager", "concrete": True}  # noqa: RUF012

    vault.create()
    with vault.session() as session:
        session.add_all([Employee(id=1, name="ann"), Manager(id=2, name="bob", room="attic")])
        session.commit()
    with vault.session() as session:
        assert session.scalars(select(Manager)).one().room == "attic"
        if context is None:
            with pytest.raises(UnsupportedOperation, match="context="):
                session.scalars(select(Employee)).all()
        else:
            found = session.scalars(select(Employee).order_by(Employee.id)).all()
            assert [(type(one), one.name) for one in found] == [(Employee, "ann"), (Manager, "bob")]
            assert found[1].room == "attic"


def test_a_column_that_is_being_adopted_is_compared_as_what_it_holds_too(make_vault: Any) -> None:
    vault = make_vault()

    class Person(vault.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = sealed(deterministic=True, accept_plaintext=True)
        other: Mapped[str] = sealed(deterministic=True)

    vault.create()
    with vault.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO people VALUES (1, 'ann@x', NULL)")
    with vault.session() as session:
        session.add(Person(id=2, email="ann@x"))
        session.commit()
        plain = type_coerce(Person.email, String)
        both = sqlalchemy.or_(Person.email == "ann@x", plain == "ann@x")
        assert session.scalars(select(Person.id).where(both).order_by(Person.id)).all() == [1, 2]
        assert session.scalars(select(Person.id).where(plain.in_(["ann@x"]))).all() == [1]
        for refused in (
            select(plain),
            select(Person.id).where(func.lower(plain) == "ann@x"),
            select(Person.id, func.lower(plain)).where(plain == "ann@x"),
            select(Person.id).where(plain == "ann@x").order_by(plain),
            select(Person.id).where(plain > "ann@x"),
            select(Person.id).where(type_coerce(Person.other, String) == "ann@x"),
        ):
            with pytest.raises(UnsupportedOperation):
                session.execute(refused)


def test_a_table_made_of_a_select_is_refused(make_vault: Any) -> None:
    if not hasattr(sqlalchemy, "CreateTableAs"):
        return
    vault = make_vault()
    person = declare(vault)
    with vault.engine.begin() as connection:
        for refused in (
            select(person.id, person.secret).into("copy"),
            select(func.lower(person.email).label("x")).into("copy"),
        ):
            with pytest.raises(UnsupportedOperation):
                connection.execute(refused)
        connection.execute(select(person.id, person.mixed).into("copy"))


def test_items_of_an_array_are_opened_with_every_check(vault: Vault, people: Any) -> None:
    if vault.engine.dialect.name == "postgresql":
        statement = select(func.array_agg(people.secret))
        with vault.session() as session:
            with tenant_scope("acme"):
                assert sorted(session.scalar(statement)) == ["secret of ann", "secret of bob"]
            with tenant_scope("globex"), pytest.raises(TenantMismatch):
                session.scalar(statement)
