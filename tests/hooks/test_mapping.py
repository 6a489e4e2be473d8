"""Sealed columns in every kind of mapping, and instances in every state."""

import pickle
from typing import Annotated, Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    func,
    inspect,
    literal,
    select,
    union_all,
)
from sqlalchemy.orm import (
    Mapped,
    aliased,
    column_property,
    deferred,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    undefer,
)
from sqlalchemy.schema import CreateTable

from sqlalchemy_cmk import ConfigurationError, EncryptedType, tenant_scope
from tests.support.vault import Vault

Ssn = Annotated[str, mapped_column(EncryptedType(String(40)))]


class Thing:
    """Pickled instances need a class that can be found; the test gives it its mapping."""


@pytest.fixture
def family(vault: Vault) -> Any:
    class Family:
        class Person(vault.base):
            __tablename__ = "people"
            __cmk_tenant__ = "clinic"
            clinic: Mapped[str] = mapped_column(String(40), primary_key=True)
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            kind: Mapped[str] = mapped_column(String(20), default="person")
            ssn: Mapped[Ssn]
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

        class Nurse(Person):
            licence: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
            __mapper_args__ = {"polymorphic_identity": "nurse"}  # noqa: RUF012

        class Doctor(Person):
            __tablename__ = "doctors"
            clinic: Mapped[str] = mapped_column(String(40), primary_key=True)
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            diploma: Mapped[str] = mapped_column(EncryptedType(String(40)))
            __table_args__ = (_foreign_key(),)
            __mapper_args__ = {"polymorphic_identity": "doctor"}  # noqa: RUF012

    vault.create()
    return Family


def _foreign_key() -> Any:
    from sqlalchemy import ForeignKeyConstraint

    return ForeignKeyConstraint(["clinic", "id"], ["people.clinic", "people.id"])


def test_inheritance_and_composite_keys(vault: Vault, family: Any) -> None:
    with vault.session() as session:
        session.add_all(
            [
                family.Person(clinic="acme", id=1, ssn="1"),
                family.Nurse(clinic="globex", id=1, ssn="2", licence="l"),
                family.Doctor(clinic="globex", id=2, ssn="3", diploma="d"),
                family.Doctor(clinic="acme", id=2, ssn="4", diploma="e"),
            ]
        )
        session.commit()
        session.get(family.Doctor, ("acme", 2)).diploma = "changed"
        session.bulk_insert_mappings(family.Doctor, [{"clinic": "acme", "id": 3, "ssn": "5", "diploma": "f"}])
        session.commit()
    vault.restart()
    with vault.session() as session:
        everyone = session.scalars(
            select(family.Person).order_by(family.Person.ssn.is_(None), family.Person.clinic)
        )
        assert sorted(p.ssn for p in everyone) == ["1", "2", "3", "4", "5"]
        doctors = session.scalars(select(family.Doctor)).all()
        assert sorted((d.clinic, d.diploma) for d in doctors) == [
            ("acme", "changed"),
            ("acme", "f"),
            ("globex", "d"),
        ]
        assert session.scalars(select(family.Nurse.licence, family.Nurse.clinic)).all() == ["l"]
    for clinic, diploma in vault.raw("SELECT clinic, diploma FROM doctors"):
        assert vault.owner(diploma) == clinic


def test_instances_keep_plain_values_in_every_state(vault: Vault) -> None:
    table = Table(
        "things",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("value", EncryptedType(String(40))),
        Column("late", EncryptedType(String(40))),
    )
    kind = type("Thing", (Thing,), {"__module__": __name__})
    vault.base.registry.map_imperatively(kind, table, properties={"late": deferred(table.c.late)})
    globals()["Thing"] = kind
    vault.create()
    with vault.session() as session:
        thing = kind()
        thing.value, thing.late = "plain", "deferred"
        session.add(thing)
        session.flush()
        assert inspect(thing).dict["value"] == "plain"
        session.commit()
        assert thing.value == "plain"
        session.refresh(thing)
        assert thing.value == "plain" and thing.late == "deferred"
        copy = pickle.loads(pickle.dumps(thing))
        session.expunge(thing)
    assert (thing.value, copy.value, copy.late) == ("plain", "plain", "deferred")
    with vault.session() as session:
        assert session.merge(copy).value == "plain"


def test_eager_loads_aliases_subqueries_unions_and_properties(vault: Vault) -> None:
    class Doctor(vault.base):
        __tablename__ = "doctors"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        name: Mapped[Ssn]
        patients: Mapped[list["Patient"]] = relationship("Patient")

    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        doctor_id: Mapped[int] = mapped_column(ForeignKey("doctors.id"))
        ssn: Mapped[Ssn]

    Patient.doctors_name = column_property(
        select(Doctor.name).where(Doctor.id == Patient.doctor_id).correlate_except(Doctor).scalar_subquery(),
        deferred=True,
    )
    vault.create()
    with vault.session() as session:
        for clinic in ("acme", "globex"):
            session.add(
                Doctor(clinic=clinic, name=f"Dr {clinic}", patients=[Patient(clinic=clinic, ssn=clinic)])
            )
        session.commit()
    vault.restart()
    with vault.session() as session:
        for option in (joinedload, selectinload):
            doctors = session.scalars(select(Doctor).options(option(Doctor.patients))).unique().all()
            assert [(d.name, d.patients[0].ssn) for d in doctors] == [
                ("Dr acme", "acme"),
                ("Dr globex", "globex"),
            ]
            session.expire_all()
        for clinic in ("acme", "globex"):  # a scalar subquery's rows do not say whose they are
            with tenant_scope(clinic):
                named = select(Patient).where(Patient.clinic == clinic)
                (patient,) = session.scalars(named.options(undefer(Patient.doctors_name)))
                assert patient.doctors_name == f"Dr {clinic}"
            session.expunge_all()
        session.expire_all()
        other = aliased(Patient)
        assert session.scalars(select(other)).first().ssn == "acme"
        inner = select(Patient.ssn, Patient.clinic).subquery()
        assert sorted(map(tuple, session.execute(select(inner)))) == [("acme", "acme"), ("globex", "globex")]
        from_inner = aliased(Patient, select(Patient).subquery())
        assert len(session.scalars(select(from_inner)).all()) == 2
        both = union_all(select(Patient.clinic, Patient.ssn), select(Patient.clinic, Patient.ssn))
        assert (
            sorted(map(tuple, session.execute(both))) == [("acme", "acme")] * 2 + [("globex", "globex")] * 2
        )
        pages = session.scalars(select(Patient).execution_options(yield_per=1, stream_results=True))
        assert [page.ssn for page in pages] == ["acme", "globex"]
        with tenant_scope("acme"):
            assert session.scalars(select(Patient.ssn).where(Patient.clinic == "acme")).all() == ["acme"]
        assert session.scalar(select(func.count(Patient.ssn))) == 2


def test_each_column_has_a_type_of_its_own(make_vault: Any) -> None:
    vault = make_vault()
    shared = EncryptedType(String(40))

    class Stamped:
        stamp: Mapped[str] = mapped_column(EncryptedType(String(9)))

    class One(Stamped, vault.base):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)
        a: Mapped[str] = mapped_column(shared)
        b: Mapped[str] = mapped_column(shared)
        c: Mapped[Ssn]

    class Two(Stamped, vault.base):
        __tablename__ = "two"
        id: Mapped[int] = mapped_column(primary_key=True)
        c: Mapped[Ssn]
        pinned: Mapped[str] = mapped_column(EncryptedType(String(9), context="the old name"))

    columns = [*One.__table__.c, *Two.__table__.c]
    contexts = [str(c.type.sealed_column.context) for c in columns if isinstance(c.type, EncryptedType)]
    assert sorted(contexts) == ["one.a", "one.b", "one.c", "one.stamp", "the old name", "two.c", "two.stamp"]
    keys = {
        literal("x", c.type)._generate_cache_key().key for c in columns if isinstance(c.type, EncryptedType)
    }
    assert len(keys) == len(contexts)
    copied = One.__table__.to_metadata(MetaData(), name="renamed")
    assert str(copied.c.a.type.sealed_column.context) == "renamed.a"
    assert str(One.__table__.c.a.type.sealed_column.context) == "one.a"


def test_a_copied_table_still_belongs_to_tenants(make_vault: Any) -> None:
    vault = make_vault()

    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str]
        ssn: Mapped[Ssn]

    copied = Patient.__table__.to_metadata(MetaData())
    vault.keyring.protect(copied.metadata)
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(
            copied.insert(), [{"clinic": "acme", "ssn": "1"}, {"clinic": "globex", "ssn": "2"}]
        )
    assert [vault.owner(row[0]) for row in vault.raw("SELECT ssn FROM patients ORDER BY id")] == [
        "acme",
        "globex",
    ]


def test_the_columns_are_sized_for_the_overhead(vault: Vault) -> None:
    class Patient(vault.base):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(primary_key=True)
        ssn: Mapped[str] = mapped_column(EncryptedType(String(11)))
        email: Mapped[str] = mapped_column(EncryptedType(String(20), deterministic=True), unique=True)
        note: Mapped[str] = mapped_column(EncryptedType(String))

    vault.create()
    ddl = str(CreateTable(Patient.__table__).compile(vault.engine))
    if vault.engine.dialect.name == "postgresql":
        assert ddl.count("BYTEA") == 3
    elif vault.engine.dialect.name == "sqlite":
        assert ddl.count("BLOB") == 3
    else:
        assert "VARBINARY(81)" in ddl and "VARBINARY(105)" in ddl and "BLOB" in ddl
    with vault.session() as session:
        session.add(Patient(ssn="\U0001f600" * 11, email="\U0001f600" * 20, note="x" * 100_000))
        session.commit()
        assert session.scalars(select(Patient)).one().ssn == "\U0001f600" * 11


def test_a_type_shows_how_to_write_it() -> None:
    assert repr(EncryptedType(String(11))) == "EncryptedType(String(length=11))"
    written = EncryptedType(Integer(), deterministic=True, context="a.b", on_revoked="seal")
    assert repr(written) == "EncryptedType(Integer(), deterministic=True, context='a.b', on_revoked='seal')"


def test_what_cannot_be_sealed_is_refused_when_it_is_declared(make_vault: Any) -> None:
    from sqlalchemy.types import NullType

    vault = make_vault()
    for wrong in (
        lambda: EncryptedType(NullType()),
        lambda: EncryptedType(String, on_revoked="hide"),
        lambda: EncryptedType(String, context=""),
    ):
        with pytest.raises(ConfigurationError):
            wrong()
    with pytest.raises(ConfigurationError, match="not a column"):

        class Lost(vault.base):
            __tablename__ = "lost"
            __cmk_tenant__ = "clinik"
            id: Mapped[int] = mapped_column(primary_key=True)
