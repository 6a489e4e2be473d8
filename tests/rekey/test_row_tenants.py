"""Each row is moved under the keys of its own tenant, wherever the row tells it."""

import enum
import uuid
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    Enum,
    ForeignKey,
    Integer,
    String,
    Table,
    Uuid,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.rekey.conftest import TENANTS, add_people, at_write, fill, rotate, sealing, values
from tests.support.world import World


class Clinic(enum.Enum):
    acme = "acme"
    globex = "globex"


TENANT_TYPES: dict[str, tuple[Any, list[Any]]] = {
    "int": (Integer(), [1, -2]),
    "uuid": (Uuid(), [uuid.UUID(int=7), uuid.UUID(int=8)]),
    "enum": (Enum(Clinic), [Clinic.acme, Clinic.globex]),
    "case": (String(20), ["acme", "ACME"]),
    "padded": (CHAR(10), ["acme", "globex"]),
    "uuid as text": (Uuid(as_uuid=False), [str(uuid.UUID(int=7)), str(uuid.UUID(int=8))]),
}


def things(world: World, kind: str, filled: str, **columns: Any) -> Table:
    """A table of 20 things of two tenants in turn, whose values are in one of its columns."""
    type_, tenants = TENANT_TYPES[kind]
    table = Table(
        "things",
        world.metadata,
        Column("id", Integer, primary_key=True),
        Column("clinic", type_),
        Column("secret", EncryptedType(String(40))),
        *(Column(name, one) for name, one in columns.items()),
        info={"cmk_tenant": "clinic"},
    )
    world.metadata.create_all(world.engine)
    fill(world, table, [{"id": n + 1, "clinic": tenants[n % 2], filled: f"s{n}"} for n in range(20)])
    return table


@pytest.mark.parametrize("kind", TENANT_TYPES)
def test_only_the_rows_of_one_tenant_are_moved(kind: str, bare: World) -> None:
    table = things(bare, kind, "secret")
    names = [str(getattr(one, "value", one)) for one in TENANT_TYPES[kind][1]]
    for name in names:
        bare.keyring.lifecycle.rotate_dek(name)
    rekey = Rekey(bare.keyring, chunk=7, rate=None)
    report = rekey.run(Job.of(table, tenant=names[0]))
    assert report.ok and report.rows_changed == 10 == report.rows_read, report
    assert rekey.rows_left(Job.of(table)) == 10
    assert values(bare, table.c.secret) == [f"s{n}" for n in range(20)]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_tenant_is_read_as_text_from_a_type_of_the_databases_own(world: World) -> None:
    world.execute("CREATE TYPE clinic AS ENUM ('acme', 'globex')")
    world.execute("ALTER TABLE notes ALTER owner TYPE clinic USING owner::clinic")
    rotate(world)
    job = replace(Job.of(world.notes), tenant_type=String(40))
    report = Rekey(world.keyring, chunk=10, rate=None).run(job)
    assert report.ok and report.rows_changed == 120, report


@pytest.mark.parametrize("kind", TENANT_TYPES)
def test_plain_values_are_sealed_for_the_tenant_that_a_model_names(kind: str, bare: World) -> None:
    type_, _ = TENANT_TYPES[kind]
    table = things(bare, kind, "plain", plain=String(40))
    move = Move("plain", "secret", String(40), EncryptedType(String(40), context=("things", "secret")))
    for tenant_type in (type_, None if isinstance(type_, CHAR) else type_):
        job = Job("things", (move,), tenant_column="clinic", tenant_type=tenant_type)
        assert Rekey(bare.keyring).run(job).ok
        with bare.engine.begin() as connection:
            found = connection.execute(select(table.c.clinic, table.c.secret).order_by(table.c.id)).all()
            assert [row.secret for row in found] == [f"s{n}" for n in range(20)]
            connection.exec_driver_sql("UPDATE things SET secret = NULL")


def test_a_tenant_that_no_row_can_have_has_no_rows(bare: World) -> None:
    for type_ in (Integer(), Uuid()):
        move = sealing("plain", "sealed")
        table = add_people(bare, **{f"clinic_{type(type_).__name__}": type_})
        job = Job(
            "people", (move,), tenant_column=list(table.c)[-1].name, tenant="not one", tenant_type=type_
        )
        assert Rekey(bare.keyring).rows_left(job) == 0
        bare.metadata.remove(table)
        table.drop(bare.engine)


def test_rows_of_the_platform_have_no_tenant_column(bare: World) -> None:
    table = Table(
        "settings",
        bare.metadata,
        Column("name", String(20), primary_key=True),
        Column("value", EncryptedType(String(40))),
        info={"cmk_tenant": None},
    )
    bare.metadata.create_all(bare.engine)
    fill(bare, table, [{"name": f"n{n}", "value": f"v{n}"} for n in range(9)])
    bare.keyring.lifecycle.rotate_dek("")
    report = Rekey(bare.keyring, chunk=2).run(Job.of(table))
    assert report.ok and report.rows_changed == 9
    assert values(bare, table.c.value) == [f"v{n}" for n in range(9)]


def joined_patients(world: World) -> tuple[Any, Any]:
    """People that tell their tenant, and patients that are people, mapped by joined inheritance."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "beings"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = mapped_column(String(20))
        kind: Mapped[str] = mapped_column(String(20))
        __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Patient(Person):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(ForeignKey("beings.id"), primary_key=True)
        plain: Mapped[str] = mapped_column(String(40))
        sealed: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        __mapper_args__: ClassVar = {"polymorphic_identity": "patient"}

    world.keyring.protect(Base)
    configure_mappers()
    Base.metadata.create_all(world.engine)
    return Person, Patient


def test_the_tenant_may_stand_in_the_base_table_of_joined_inheritance(bare: World) -> None:
    _, patient = joined_patients(bare)
    with Session(bare.engine) as session:
        session.add_all(patient(id=n + 1, owner=TENANTS[n % 2], plain=f"p{n}") for n in range(20))
        session.commit()
    type_ = EncryptedType(String(40), context=("patients", "sealed"))
    job = Job("patients", (Move("plain", "sealed", String(40), type_),), tenant_column=("beings", "owner"))
    rekey = Rekey(bare.keyring, chunk=7, rate=None)
    with at_write(1, lambda: bare.execute("UPDATE beings SET owner = 'globex' WHERE id = 9")):
        report = rekey.run(job)
    assert report.ok and report.rows_changed == 20, report
    rotate(bare)
    report = rekey.run(Job.of(patient.__table__, tenant="acme"))
    assert report.ok and report.rows_changed == 9, report
    with Session(bare.engine) as session:
        found = session.scalars(select(patient).order_by(patient.id)).all()
        assert [one.sealed for one in found] == [f"p{n}" for n in range(20)]


def test_a_row_without_an_owner_is_listed_and_left(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [{"id": 1, "owner": "acme", "plain": "a"}])
    bare.execute("INSERT INTO people (id, plain) VALUES (2, 'b')")
    report = Rekey(bare.keyring).run(Job("people", (sealing("plain", "sealed"),), tenant_column="owner"))
    assert (report.ok, report.rows_changed, report.rows_left) == (False, 1, 1)
    assert [(one.key, one.column) for one in report.damaged] == [("[2]", "owner")]
