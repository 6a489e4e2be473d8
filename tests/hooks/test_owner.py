"""A column of the platform's in a tenant's table: written, read and compared without a tenant."""

from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, delete, func, insert, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Mapped, aliased, load_only, mapped_column

from sqlalchemy_cmk import (
    CmkError,
    EncryptedType,
    KeyRevoked,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    tenant_scope,
)
from sqlalchemy_cmk.columns.sealed import Sealed
from tests.support.vault import Vault

INSERT: dict[str, Any] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}


def address() -> Any:
    return EncryptedType(String(60), deterministic=True, owner="platform", context="email")


class Accounts:
    """People who sign in by an e-mail address before anybody knows their tenant, and invitations to them."""

    def __init__(self, vault: Vault) -> None:
        class Person(vault.base):
            __tablename__ = "people"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            clinic: Mapped[str | None] = mapped_column(String(20))
            email: Mapped[str | None] = mapped_column(address(), unique=True)
            hint: Mapped[str | None] = mapped_column(
                EncryptedType(String(60), owner="platform", row_bound=True)
            )
            ssn: Mapped[str | None] = mapped_column(EncryptedType(String(20)))
            note: Mapped[str | None] = mapped_column(EncryptedType(String(20), on_revoked="seal"))

        class Invitation(vault.base):
            __tablename__ = "invitations"
            __cmk_tenant__ = None
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            email: Mapped[str] = mapped_column(address())

        class Contact(vault.base):
            __tablename__ = "contacts"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            clinic: Mapped[str] = mapped_column(String(20))
            email: Mapped[str] = mapped_column(EncryptedType(String(60), deterministic=True, context="email"))
            person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))

        self.vault = vault
        self.Person: Any = Person
        self.Invitation: Any = Invitation
        self.Contact: Any = Contact
        vault.create()
        for clinic in ("acme", "globex"):
            vault.keyring.assign(clinic, f"local:{clinic}")
        vault.keyring.warm(["", "acme", "globex"], new=True)
        with vault.session() as session:
            session.add_all(
                [
                    Person(id=1, clinic="acme", email="a@x", hint="h1", ssn="s1", note="n1"),
                    Person(id=2, clinic="globex", email="g@x", hint="h2", ssn="s2", note="n2"),
                ]
            )
            session.execute(insert(Invitation), [{"id": 1, "email": "a@x"}, {"id": 2, "email": "new@x"}])
            session.commit()

    def owners(self, column: str, key: int = 1) -> str:
        return self.vault.owner(self.vault.raw(f"SELECT {column} FROM people WHERE id = {key}")[0][0])

    def revoke(self) -> None:
        self.vault.provider.disable("local:acme")
        self.vault.restart()


@pytest.fixture
def accounts(vault: Vault) -> Accounts:
    return Accounts(vault)


def test_each_column_of_a_row_is_sealed_for_its_owner(accounts: Accounts) -> None:
    owners = {name: accounts.owners(name) for name in ("email", "hint", "ssn", "note")}
    assert owners == {"email": "", "hint": "", "ssn": "acme", "note": "acme"}
    accounts.vault.restart()
    with accounts.vault.session() as session:
        found = session.scalars(select(accounts.Person).order_by(accounts.Person.id)).all()
        assert [(p.email, p.hint, p.ssn) for p in found] == [("a@x", "h1", "s1"), ("g@x", "h2", "s2")]


@pytest.mark.parametrize("scope", [None, "acme", "globex"])
def test_it_is_read_and_compared_without_a_tenant_and_in_any_scope(
    accounts: Accounts, scope: str | None
) -> None:
    person = accounts.Person
    with tenant_scope(scope), accounts.vault.session() as session:
        assert session.execute(select(person.email, person.clinic).where(person.email == "a@x")).one() == (
            "a@x",
            "acme",
        )
        assert session.scalars(select(person.email).where(person.email.in_(["g@x", "a@x"]))).all() != []
        assert session.execute(select(person.id, person.hint).order_by(person.id)).all() == [
            (1, "h1"),
            (2, "h2"),
        ]
        assert session.scalar(select(func.count()).where(person.email != "a@x")) == 1
        alias = aliased(person)
        assert session.scalars(select(alias.email).order_by(alias.id)).all() == ["a@x", "g@x"]
        assert session.connection().execute(select(person.__table__.c.email)).scalars().all()


def test_somebody_signs_in_and_the_row_then_says_whose_it_is(accounts: Accounts) -> None:
    accounts.vault.restart()
    with accounts.vault.session() as session:
        found = session.scalars(select(accounts.Person).filter_by(email="g@x")).one()
        assert (found.clinic, found.ssn) == ("globex", "s2")


@pytest.mark.parametrize("scope", [None, "globex"])
def test_it_is_written_without_a_tenant_and_in_any_scope(accounts: Accounts, scope: str | None) -> None:
    person, table = accounts.Person, accounts.Person.__table__
    with tenant_scope(scope), accounts.vault.session() as session:
        session.execute(update(person).where(person.id == 1).values(email="a2@x"))
        session.execute(update(person), [{"id": 1, "hint": "h1b"}, {"id": 2, "hint": "h2b"}])
        session.execute(update(table).where(table.c.email == "a2@x").values(email="a3@x"))
        session.add(person(id=3, email="new@x"))
        session.flush()
        session.execute(
            insert(person), [{"id": 4, "email": "4@x"}, {"id": 5, "clinic": "acme", "email": "5@x"}]
        )
        session.execute(insert(table).values([{"id": 6, "email": "6@x"}, {"id": 7, "email": "7@x"}]))
        session.execute(insert(table).values(id=8, email="8@x", hint="h8"))
        session.execute(delete(person).where(person.email.in_(["4@x", "5@x"])))
        session.commit()
    with accounts.vault.session() as session:
        rows = session.execute(select(person.id, person.email, person.hint).order_by(person.id)).all()
    assert [tuple(row) for row in rows] == [
        (1, "a3@x", "h1b"),
        (2, "g@x", "h2b"),
        (3, "new@x", None),
        (6, "6@x", None),
        (7, "7@x", None),
        (8, "8@x", "h8"),
    ]


def test_a_tenants_value_still_needs_its_tenant(accounts: Accounts) -> None:
    person, table = accounts.Person, accounts.Person.__table__
    with accounts.vault.session() as session:
        for write in (
            lambda: session.execute(insert(person), [{"id": 4, "email": "4@x", "ssn": "s"}]),
            lambda: session.execute(insert(table).values(id=4, email="4@x", ssn="s")),
            lambda: session.execute(insert(table).values([{"id": 4, "email": "4@x", "ssn": "s"}])),
            lambda: session.execute(update(person).where(person.email == "a@x").values(ssn="s")),
            lambda: (session.add(person(id=4, email="4@x", ssn="s")), session.flush()),
        ):
            with pytest.raises(TenantRequired):
                write()
            session.rollback()
        with tenant_scope("globex"), pytest.raises(TenantMismatch):
            session.execute(insert(person), [{"id": 4, "clinic": "acme", "email": "4@x", "ssn": "s"}])
        with pytest.raises(TenantRequired):
            session.scalars(select(person.ssn)).all()


def test_upserts_write_it_for_the_platform(accounts: Accounts) -> None:
    table = accounts.Person.__table__
    row = {"id": 1, "clinic": "acme", "email": "up@x"}
    for values in (
        row,
        {**row, "clinic": None, "email": "up2@x"},
        {**row, "clinic": "globex", "email": "up3@x"},
    ):
        new = INSERT[accounts.vault.engine.dialect.name](table).values(values)
        if hasattr(new, "on_conflict_do_update"):
            statement = new.on_conflict_do_update(index_elements=["id"], set_={"email": new.excluded.email})
        else:
            statement = new.on_duplicate_key_update(email=new.inserted.email)
        with accounts.vault.engine.begin() as connection:
            connection.execute(statement)
        with accounts.vault.session() as session:
            found = session.get_one(accounts.Person, 1)
            assert (found.email, found.clinic, found.ssn) == (values["email"], "acme", "s1")


def test_an_upsert_without_a_tenant_seals_no_tenants_value_for_the_platform(accounts: Accounts) -> None:
    table = accounts.Person.__table__
    new = INSERT[accounts.vault.engine.dialect.name](table).values(id=1, email="up@x")
    if hasattr(new, "on_conflict_do_update"):
        statement = new.on_conflict_do_update(index_elements=["id"], set_={"ssn": "stolen"})
    else:
        statement = new.on_duplicate_key_update(ssn="stolen")
    with accounts.vault.session() as session, pytest.raises(CmkError):
        session.execute(statement)
    assert accounts.owners("ssn") == "acme"


def test_it_is_returned_without_a_tenant(accounts: Accounts) -> None:
    if accounts.vault.engine.dialect.name not in ("sqlite", "postgresql"):
        return
    person = accounts.Person
    with accounts.vault.session() as session:
        rows = [{"id": n, "email": f"{n}@x"} for n in (4, 5)]
        assert sorted(session.scalars(insert(person).returning(person.email), rows)) == ["4@x", "5@x"]
        query = (
            update(person)
            .where(person.email == "4@x")
            .values(hint=None, email="44@x")
            .returning(person.email)
        )
        assert session.scalars(query.execution_options(synchronize_session=False)).all() == ["44@x"]


def test_columns_of_one_context_and_owner_are_joined(accounts: Accounts) -> None:
    person, invitation, contact = accounts.Person, accounts.Invitation, accounts.Contact
    with accounts.vault.session() as session:
        joined = select(person.id, invitation.id).join(invitation, invitation.email == person.email)
        assert [tuple(row) for row in session.execute(joined)] == [(1, 1)]
        known = select(invitation.id).where(invitation.email.in_(select(person.email)))
        assert session.scalars(known).all() == [1]
        with pytest.raises(UnsupportedOperation):  # of a tenant: no value is equal
            session.execute(select(contact.id).join(person, person.email == contact.email)).all()


def test_the_tenants_revocation_leaves_it_open(accounts: Accounts) -> None:
    accounts.revoke()
    person = accounts.Person
    with accounts.vault.session() as session:
        assert session.scalars(select(person.email).order_by(person.id)).all() == ["a@x", "g@x"]
        row = session.execute(
            select(person.email, person.note, person.clinic).where(person.email == "a@x")
        ).one()
        assert row.email == "a@x" and isinstance(row.note, Sealed)
        with pytest.raises(KeyRevoked):
            session.execute(select(person.email, person.ssn, person.clinic)).all()


def test_it_alone_may_be_changed_in_a_row_whose_key_is_revoked(accounts: Accounts) -> None:
    before = accounts.vault.raw("SELECT ssn, note FROM people ORDER BY id")
    accounts.revoke()
    person = accounts.Person
    with accounts.vault.session() as session:
        some = (
            select(person).where(person.id == 1).options(load_only(person.email, person.hint, person.clinic))
        )
        one = session.scalars(some).one()
        one.email, one.hint = "changed@x", "changed"
        session.commit()
        session.execute(update(person).where(person.id == 1).values(email="again@x"))
        session.add(person(id=9, clinic="acme", email="9@x"))
        session.commit()
        assert session.scalars(some.execution_options(populate_existing=True)).one().hint == "changed"
        assert session.scalars(select(person.email).order_by(person.id)).all() == ["again@x", "g@x", "9@x"]
        with pytest.raises(KeyRevoked):
            session.add(person(id=10, clinic="acme", ssn="s"))
            session.flush()
    assert accounts.vault.raw("SELECT ssn, note FROM people WHERE id < 9 ORDER BY id") == before


def test_a_changed_tenant_leaves_its_bytes_alone(accounts: Accounts) -> None:
    before = accounts.vault.raw("SELECT email, hint FROM people WHERE id = 1")
    with accounts.vault.session() as session:
        session.get_one(accounts.Person, 1).clinic = "globex"
        session.commit()
    assert accounts.vault.raw("SELECT email, hint FROM people WHERE id = 1") == before
    assert accounts.owners("ssn") == accounts.owners("note") == "globex"


def test_a_tenants_value_in_its_place_is_tampering(accounts: Accounts) -> None:
    with accounts.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE people SET hint = ssn WHERE id = 1")
        connection.exec_driver_sql("UPDATE people SET ssn = email WHERE id = 2")
    person = accounts.Person
    with accounts.vault.session() as session:
        for query in (
            select(person.id, person.hint),
            select(person.ssn, person.clinic).where(person.id == 2),
        ):
            with pytest.raises(TamperedError):
                session.execute(query).all()
