"""What a WHERE clause makes certain: an AND of comparisons with one value, at the top of the statement."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    String,
    Table,
    and_,
    between,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    lambda_stmt,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    tuple_,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column, with_loader_criteria

from sqlalchemy_cmk import EncryptedType, TenantMismatch, TenantRequired, tenant_scope
from sqlalchemy_cmk.hooks.equality import equalities, pinned
from tests.support.vault import Vault

CERTAIN: dict[str, Callable[[Any], Any]] = {
    "an equality": lambda p: p.clinic == "acme",
    "the value on the left": lambda p: literal("acme") == p.clinic,
    "an AND": lambda p: and_(p.id > 0, p.clinic == "acme"),
    "an AND in an AND": lambda p: and_(p.id > 0, and_(p.id < 9, p.clinic == "acme")),
    "an AND in parentheses": lambda p: and_(p.id > 0, p.clinic == "acme").self_group(),
    "beside an OR": lambda p: and_(p.clinic == "acme", or_(p.id == 1, p.id == 2)),
    "beside another tenant in an OR": lambda p: and_(p.clinic == "acme", or_(p.clinic == "globex", p.id > 0)),
    "the same twice": lambda p: and_(p.clinic == "acme", p.clinic == "acme"),
    "beside what is always true": lambda p: and_(true(), p.clinic == "acme"),
    "an OR of one": lambda p: or_(p.clinic == "acme"),
    "a value found late": lambda p: p.clinic == bindparam("c", callable_=lambda: "acme"),
    "not unequal": lambda p: ~(p.clinic != "acme"),
}
UNCERTAIN: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda p: p.id > 0,
    "an OR": lambda p: or_(p.clinic == "acme", p.id > 0),
    "an OR that names it twice": lambda p: or_(p.clinic == "acme", p.clinic == "acme"),
    "an OR in an AND": lambda p: and_(p.id > 0, or_(p.clinic == "acme", p.id > 0)),
    "unequal": lambda p: p.clinic != "acme",
    "a NOT": lambda p: not_(and_(p.clinic == "acme", p.id > 5)),
    "two NOTs": lambda p: not_(not_(and_(p.clinic == "acme", p.id > 0))),
    "IN": lambda p: p.clinic.in_(["acme"]),
    "a tuple": lambda p: tuple_(p.clinic, p.id).in_([("acme", 1), ("acme", 2)]),
    "LIKE": lambda p: p.clinic.like("acme"),
    "BETWEEN": lambda p: between(p.clinic, "acme", "acme"),
    "greater or equal": lambda p: p.clinic >= "acme",
    "no other than": lambda p: p.clinic.is_not_distinct_from("acme"),
    "a function of the column": lambda p: func.lower(p.clinic) == "acme",
    "a function of the value": lambda p: p.clinic == func.lower("ACME"),
    "a CAST": lambda p: cast(p.clinic, String) == "acme",
    "a type of its own": lambda p: type_coerce(p.clinic, String) == "acme",
    "a collation": lambda p: p.clinic.collate("NOCASE") == "acme",
    "a literal": lambda p: p.clinic == literal_column("'acme'"),
    "text": lambda p: text("clinic = 'acme'"),
    "the primary key": lambda p: p.id == 1,
    "a CASE": lambda p: case((p.clinic == "acme", 1), else_=0) == 1,
    "an EXISTS": lambda p: exists().where(literal_column("1") == 1, p.clinic == "acme").correlate(None),
    "a truth": lambda p: (p.clinic == "acme") == true(),
}


class World:
    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str | None] = mapped_column(String(20))
            ssn: Mapped[str] = mapped_column(EncryptedType(String(20)))
            email: Mapped[str] = mapped_column(EncryptedType(String(20), deterministic=True))

        self.vault, self.Patient = vault, Patient
        vault.create()
        with vault.session() as session:
            for number, clinic in ((1, "acme"), (2, "globex")):
                session.add(Patient(id=number, clinic=clinic, ssn=f"of {clinic}", email="same"))
            session.commit()

    def read(self, statement: Any, *parameters: Any) -> list[Any]:
        with self.vault.session() as session:
            return list(session.scalars(statement, *parameters))

    def refuses(self, statement: Any, *parameters: Any) -> None:
        with pytest.raises(TenantRequired, match="whose value it is cannot be seen"):
            self.read(statement, *parameters)


@pytest.fixture
def world(make_vault: Callable[[], Vault]) -> World:
    return World(make_vault())


@pytest.mark.parametrize("name", CERTAIN)
def test_a_value_opens_for_the_tenant_that_is_certain(world: World, name: str) -> None:
    p = world.Patient
    assert world.read(select(p.ssn).where(CERTAIN[name](p))) == ["of acme"]
    core = p.__table__.c
    with world.vault.engine.connect() as connection:
        assert connection.scalars(select(core.ssn).where(CERTAIN[name](core))).all() == ["of acme"]


@pytest.mark.parametrize("name", UNCERTAIN)
def test_a_value_stays_closed_where_the_tenant_is_not_certain(world: World, name: str) -> None:
    p = world.Patient
    world.refuses(select(p.ssn).where(UNCERTAIN[name](p)))
    with tenant_scope("acme"):
        assert world.read(select(p.ssn).where(UNCERTAIN[name](p), p.id == 1)) in (["of acme"], [])


@pytest.mark.parametrize("name", UNCERTAIN)
def test_nothing_is_compared_or_written_for_a_tenant_that_is_not_certain(world: World, name: str) -> None:
    p = world.Patient
    options = {"synchronize_session": False}
    with world.vault.session() as session:
        with pytest.raises(TenantRequired):
            session.scalars(select(p.id).where(UNCERTAIN[name](p), p.email == "same"))
        if name != "the primary key":
            with pytest.raises(TenantRequired):
                session.execute(
                    update(p).where(UNCERTAIN[name](p)).values(ssn="x"), None, execution_options=options
                )


def test_conditions_that_stand_elsewhere_say_nothing(world: World) -> None:
    p, other = world.Patient, aliased(world.Patient)
    acme = p.clinic == "acme"
    world.refuses(select(p.ssn).join(other, and_(other.id == p.id, acme)))
    world.refuses(select(p.ssn).options(with_loader_criteria(p, acme)))
    world.refuses(select(select(p.ssn).where(acme).subquery().c.ssn))
    world.refuses(union_all(select(p.ssn).where(acme), select(p.ssn).where(acme)))
    lone = select(p.ssn).where(acme).scalar_subquery()
    world.refuses(select(lone, p.id))
    world.refuses(select(select(other.ssn).where(acme, p.id != other.id).limit(1).scalar_subquery()))


def test_the_condition_of_a_subquery_that_is_given_alone_says_whose_value_it_is(world: World) -> None:
    p = world.Patient
    assert world.read(select(select(p.ssn).where(p.clinic == "acme").scalar_subquery())) == ["of acme"]
    world.refuses(select(select(p.ssn).limit(1).scalar_subquery()))


def test_a_condition_is_for_its_own_from(world: World) -> None:
    p, other = world.Patient, aliased(world.Patient)
    beside = other.id != p.id
    world.refuses(select(other.ssn).where(beside, p.clinic == "acme"))
    assert world.read(select(other.ssn).where(beside, other.clinic == "globex")) == ["of globex"]
    assert world.read(select(p.ssn).where(beside, p.clinic == "acme", other.clinic == "globex")) == [
        "of acme"
    ]
    with world.vault.session() as session:
        both = select(p.ssn, other.ssn).where(beside, p.clinic == "acme", other.clinic == "globex")
        assert session.execute(both).one() == ("of acme", "of globex")
    inner = select(p.ssn, p.clinic).subquery()
    assert world.read(select(inner.c.ssn).where(inner.c.clinic == "acme")) == ["of acme"]
    world.refuses(select(inner.c.ssn).where(inner.c.clinic == p.clinic, p.clinic == "acme"))


def test_several_tenants_are_a_mismatch(world: World) -> None:
    p = world.Patient
    both = and_(p.clinic == "acme", p.clinic == "globex")
    with world.vault.session() as session:
        for statement in (
            select(p.id).where(both, p.email == "same"),
            update(p).where(both).values(ssn="x"),
        ):
            with pytest.raises(TenantMismatch, match="names several tenants"):
                session.execute(statement)
    assert world.read(select(p.ssn).where(both)) == []


def test_a_scope_that_contradicts_is_a_mismatch(world: World) -> None:
    p = world.Patient
    with tenant_scope("globex"), pytest.raises(TenantMismatch):
        world.read(select(p.ssn).where(p.clinic == "acme"))
    with tenant_scope("acme"):
        assert world.read(select(p.ssn).where(p.clinic == "acme")) == ["of acme"]


def by_lambda(p: Any, clinic: str) -> Any:
    return lambda_stmt(lambda: select(p.ssn).where(p.clinic == clinic))


def test_a_cached_statement_names_the_tenant_of_each_execution(world: World) -> None:
    p = world.Patient
    given = select(p.ssn).where(p.clinic == bindparam("c"))
    for clinic in ("acme", "globex", "acme"):
        assert world.read(given, {"c": clinic}) == [f"of {clinic}"]
        assert world.read(select(p.ssn).where(p.clinic == clinic)) == [f"of {clinic}"]
        assert world.read(by_lambda(p, clinic)) == [f"of {clinic}"]
        assert world.read(select(p.id).where(p.clinic == clinic, p.email == "same")) in ([1], [2])
    assert world.read(given, {"c": None}) == []


def test_returned_rows_belong_to_the_tenant_that_is_certain(world: World) -> None:
    p = world.Patient.__table__
    with world.vault.engine.begin() as connection:
        named = update(p).where(p.c.clinic == "acme").values(ssn="new").returning(p.c.ssn)
        assert connection.scalars(named).all() == ["new"]
        with pytest.raises(TenantRequired):
            connection.scalars(delete(p).where(p.c.id == 1).returning(p.c.ssn)).all()
        gone = delete(p).where(p.c.clinic == "globex").returning(p.c.ssn)
        assert connection.scalars(gone).all() == ["of globex"]


def test_a_row_that_matches_by_its_collation_only_is_a_mismatch(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    clinic = Column("clinic", String(20, collation="NOCASE"))
    sealed = Column("ssn", EncryptedType(String(20)))
    key = Column("id", Integer, primary_key=True)
    table = Table("t", vault.base.metadata, key, clinic, sealed, info={"cmk_tenant": "clinic"})
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(insert(table), {"clinic": "acme", "ssn": "x"})
        assert connection.scalars(select(sealed).where(clinic == "acme")).all() == ["x"]
        with pytest.raises(TenantMismatch):
            connection.scalars(select(sealed).where(clinic == "ACME")).all()
        assert connection.scalars(select(sealed, clinic).where(clinic == "ACME")).all() == ["x"]


def test_pinned_are_the_columns_of_a_table_that_have_one_value(world: World) -> None:
    p = world.Patient.__table__
    other = p.alias()
    criteria = and_(p.c.id == 1, literal("acme") == p.c.clinic, other.c.id == 2, p.c.email != "x")
    assert {key: bind.value for key, bind in pinned(and_(p.c.id == 1, p.c.clinic == "acme"), p).items()} == {
        "id": 1,
        "clinic": "acme",
    }
    assert [(str(column), bind.value) for column, bind in equalities(criteria)][:2] == [
        ("patients.id", 1),
        ("patients.clinic", "acme"),
    ]
    assert list(equalities(None)) == [] == list(equalities(text("id = 1")))
