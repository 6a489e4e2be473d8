"""Defaults in a table with sealed columns: those that read the row get plain values, and all give theirs."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import JSON, Integer, String, bindparam, func, insert, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from tests.support.vault import Vault

INSERT: dict[str, Any] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}


class Patients:
    """A model whose defaults read the row, and what they were given."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.given: list[dict[str, Any]] = []

        def initials(context: Any) -> str:
            values = context.get_current_parameters()
            self.given.append(values)
            return str(values["name"])[:1]

        def changed(context: Any) -> str:
            values = context.get_current_parameters()
            self.given.append(values)
            return f"{'made' if context.isinsert else 'changed'}: {values.get('name')}"

        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            clinic: Mapped[str] = mapped_column(String(20), default=lambda: "acme")
            name: Mapped[str] = mapped_column(EncryptedType(String(20)))
            number: Mapped[int] = mapped_column(Integer, default=7)
            initial: Mapped[str] = mapped_column(String(5), default=initials)
            sealed: Mapped[str] = mapped_column(EncryptedType(String(60)), default=changed, onupdate=changed)
            info: Mapped[Any] = mapped_column(
                EncryptedType(JSON), default=lambda c: {"number": c.current_parameters["number"]}
            )
            touched: Mapped[str | None] = mapped_column(String(60), default=None, onupdate=changed)
            token: Mapped[UUID] = mapped_column(default=uuid4)

        self.Patient: Any = Patient
        vault.create()
        vault.keyring.warm(["acme", "globex"], new=True)

    def rows(self) -> list[tuple[Any, ...]]:
        self.vault.restart()
        p = self.Patient
        query = select(p.id, p.clinic, p.name, p.number, p.initial, p.sealed, p.info, p.touched)
        with self.vault.session() as session:
            return [tuple(row) for row in session.execute(query.order_by(p.id))]


@pytest.fixture
def patients(vault: Vault) -> Patients:
    return Patients(vault)


def made(key: int, name: str, clinic: str = "acme") -> tuple[Any, ...]:
    return (key, clinic, name, 7, name[:1], f"made: {name}", {"number": 7}, None)


def test_every_insert_gives_defaults_the_plain_values(patients: Patients) -> None:
    p, table = patients.Patient, patients.Patient.__table__
    with patients.vault.session() as session:
        session.add(p(id=1, name="Ann"))
        session.flush()
        session.add_all([p(id=2, name="Bob"), p(id=3, name="Cy", clinic="globex")])
        session.flush()
        session.bulk_save_objects([p(id=4, name="Dan")])
        session.bulk_insert_mappings(p, [{"id": 5, "name": "Eve"}])
        session.execute(insert(p), [{"id": 6, "name": "Flo"}, {"id": 7, "name": "Gus", "clinic": "globex"}])
        session.execute(insert(p).values(id=8, name="Hal"))
        session.execute(insert(table).values([{"id": 9, "name": "Ida"}, {"id": 10, "name": "Joe"}]))
        session.execute(insert(table).values(id=11, name=bindparam("n")), {"n": "Kay"})
        session.connection().execute(insert(table), {"id": 12, "name": "Lee"})
        session.execute(INSERT[patients.vault.engine.dialect.name](table).values(id=13, name="Max"))
        session.merge(p(id=14, name="Nan"))
        session.commit()
    names = ["Ann", "Bob", "Cy", "Dan", "Eve", "Flo", "Gus", "Hal", "Ida", "Joe", "Kay", "Lee", "Max", "Nan"]
    clinics = {"Cy": "globex", "Gus": "globex"}
    assert patients.rows() == [made(n, name, clinics.get(name, "acme")) for n, name in enumerate(names, 1)]
    assert {values["name"] for values in patients.given} == set(names)


def test_what_defaults_gave_is_on_the_object(patients: Patients) -> None:
    with patients.vault.session() as session:
        one = patients.Patient(id=1, name="Ann")
        session.add(one)
        session.flush()
        assert (one.number, one.initial, one.sealed, one.info) == (7, "A", "made: Ann", {"number": 7})
        assert one.clinic == "acme" and isinstance(one.token, UUID)
        two = patients.Patient(id=2, name="Bob", number=None, initial="x")
        session.add(two)
        session.flush()
        assert (two.number, two.initial) == (7, "x")
        two.name = "Ben"
        session.flush()
        assert two.__dict__["touched"] == two.__dict__["sealed"] == "changed: Ben"
        assert one.touched is None


def test_returning_gives_what_defaults_gave(patients: Patients) -> None:
    if patients.vault.engine.dialect.name not in ("sqlite", "postgresql"):
        return
    p = patients.Patient
    with patients.vault.session() as session:
        rows = [{"id": n, "name": name} for n, name in ((1, "Ann"), (2, "Bob"))]
        found = session.scalars(insert(p).returning(p, sort_by_parameter_order=True), rows).all()
        assert [(one.initial, one.sealed) for one in found] == [("A", "made: Ann"), ("B", "made: Bob")]


def test_every_update_gives_defaults_the_plain_values(patients: Patients) -> None:
    p, table = patients.Patient, patients.Patient.__table__
    with patients.vault.session() as session:
        session.add_all([p(id=n, name="old") for n in range(1, 7)])
        session.commit()
        patients.given.clear()
        session.get_one(p, 1).name = "Ann"
        session.commit()
        assert session.get_one(p, 1).touched == "changed: Ann"
        session.execute(update(p).where(p.id == 2).values(name="Bob"))
        session.execute(update(p), [{"id": 3, "name": "Cy"}])
        session.bulk_update_mappings(p, [{"id": 4, "name": "Dan"}])
        named = update(table).where(table.c.id == bindparam("i")).values(name=bindparam("n"))
        session.connection().execute(named, [{"i": 5, "n": "Eve"}, {"i": 6, "n": "Flo"}])
        session.commit()
    for key, clinic, name, number, initial, sealed, info, touched in patients.rows():
        assert (clinic, number, initial, info) == ("acme", 7, "o", {"number": 7})
        assert sealed == touched == f"changed: {name}", key
    assert {values["name"] for values in patients.given} == {"Ann", "Bob", "Cy", "Dan", "Eve", "Flo"}


def test_an_update_of_other_columns_gives_them_too(patients: Patients) -> None:
    p = patients.Patient
    with patients.vault.session() as session:
        session.add(p(id=1, name="Ann"))
        session.commit()
        session.get_one(p, 1).number = 8
        session.commit()
        session.execute(update(p).where(p.id == 1).values(number=p.number + 1))
        session.commit()
        found = session.get_one(p, 1)
        assert (found.number, found.name, found.touched) == (9, "Ann", "changed: None")


def test_a_default_that_the_row_has_is_not_called(patients: Patients) -> None:
    row = {"id": 1, "name": "Ann", "initial": "?", "sealed": "own", "info": {"own": 1}}
    with patients.vault.session() as session:
        session.execute(insert(patients.Patient), [row])
        session.commit()
    assert patients.rows() == [(1, "acme", "Ann", 7, "?", "own", {"own": 1}, None)]
    assert patients.given == []


def test_rows_that_differ_in_what_they_give_have_one_insert(patients: Patients) -> None:
    rows = [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob", "sealed": "own"}]
    with patients.vault.session() as session:
        session.connection().execute(insert(patients.Patient.__table__), rows)
        session.commit()
    assert [row[5] for row in patients.rows()] == ["made: Ann", "own"]


def test_sql_that_the_database_computes_is_left_out_of_the_values(patients: Patients) -> None:
    table = patients.Patient.__table__
    with patients.vault.session() as session:
        session.connection().execute(
            insert(table).values(id=1, name="Ann", number=func.abs(-3), info={"a": 1})
        )
        session.commit()
    assert patients.rows()[0][3] == 3
    assert "number" not in patients.given[0] and patients.given[0]["name"] == "Ann"


def test_a_default_may_use_the_connection(vault: Vault) -> None:
    class Thing(vault.base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(
            primary_key=True,
            autoincrement=False,
            default=lambda c: 1 + c.connection.scalar(select(func.count()).select_from(Thing.__table__)),
        )
        kind: Mapped[str] = mapped_column(String(20), default=lambda c: c.dialect.name)
        value: Mapped[str] = mapped_column(EncryptedType(String(20), row_bound=True))

    vault.create()
    with vault.session() as session:
        for value in ("a", "b"):
            session.add(Thing(value=value))
            session.flush()
        session.commit()
        found = session.scalars(select(Thing).order_by(Thing.id)).all()
        assert [(one.id, one.value, one.kind) for one in found] == [
            (1, "a", vault.engine.dialect.name),
            (2, "b", vault.engine.dialect.name),
        ]


def test_what_else_a_default_asks_the_context_for_is_refused(vault: Vault) -> None:
    class Thing(vault.base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        kind: Mapped[str] = mapped_column(String(20), default=lambda c: str(c.compiled_parameters))
        value: Mapped[str] = mapped_column(EncryptedType(String(20)))

    vault.create()
    with (
        vault.session() as session,
        pytest.raises(UnsupportedOperation, match=r"context\.compiled_parameters"),
    ):
        session.add(Thing(id=1, value="a"))
        session.flush()
