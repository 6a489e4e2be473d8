"""Candidates: rows that an index finds besides those that were asked for are dropped, on every way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ForeignKey,
    String,
    and_,
    bindparam,
    case,
    delete,
    event,
    exists,
    func,
    insert,
    lambda_stmt,
    literal_column,
    not_,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import (
    Mapped,
    aliased,
    contains_eager,
    defer,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
    with_loader_criteria,
)

from sqlalchemy_cmk import (
    EncryptedType,
    KeyRevoked,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    tenant_scope,
)
from sqlalchemy_cmk.search import Exact, fold
from tests.support.vault import Vault

ROWS = 60


class Clinic:
    """Sixty patients of six towns; the index takes several towns for one."""

    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            town: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=[Exact(bits=1)]))
            name: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=[Exact(normalize=fold)]))
            visits: Mapped[list["Visit"]] = relationship(order_by="Visit.id", back_populates="patient")

        class Visit(vault.base):
            __tablename__ = "visits"
            id: Mapped[int] = mapped_column(primary_key=True)
            patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
            patient: Mapped[Patient] = relationship(back_populates="visits")

        self.vault, self.Patient, self.Visit = vault, Patient, Visit
        vault.create()
        self.towns = {n: f"town{n % 6}" for n in range(1, ROWS + 1)}
        with vault.session() as session:
            names = ("Ann", "ANN", "ann")
            session.add_all(
                [Patient(id=n, clinic="acme", town=t, name=names[n % 3]) for n, t in self.towns.items()]
            )
            session.add(Patient(id=99, clinic="acme"))
            session.flush()
            session.add_all([Visit(id=10 * n + i, patient_id=n) for n in self.towns for i in range(n % 3)])
            session.commit()
        self.session = vault.session()

    def asked(self, town: str = "town3") -> Any:
        return select(self.Patient).where(self.Patient.town == town).order_by(self.Patient.id)

    def ids(self, town: str = "town3") -> list[int]:
        return [n for n, one in self.towns.items() if one == town]

    def found(self, statement: Any) -> list[int]:
        return [one.id for one in self.session.scalars(statement).unique()]


@pytest.fixture
def clinic(vault: Vault) -> Iterator[Clinic]:
    yield from _clinic(vault)


@pytest.fixture
def small_clinic(make_vault: Callable[..., Vault]) -> Iterator[Clinic]:
    yield from _clinic(make_vault())


def _clinic(vault: Vault) -> Iterator[Clinic]:
    clinic = Clinic(vault)
    with tenant_scope("acme"), clinic.session:
        yield clinic


def _sent(clinic: Clinic) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []

    @event.listens_for(clinic.vault.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM patients" in statement:
            sent.append((statement, parameters))

    return sent


def test_the_index_finds_more_than_what_is_given(clinic: Clinic) -> None:
    tokens = clinic.vault.raw("SELECT town_exact FROM patients WHERE town_exact IS NOT NULL")
    assert len({bytes(one) for (one,) in tokens}) <= 2
    for town in ("town0", "town3", "no town"):
        assert clinic.found(clinic.asked(town)) == clinic.ids(town)


def test_pages_are_those_of_the_rows_that_were_asked_for(clinic: Clinic) -> None:
    Patient = clinic.Patient
    wide = {"sqlite": 60}.get(clinic.vault.engine.dialect.name, 15)

    @settings(max_examples=wide, deadline=None)
    @given(
        towns=st.lists(st.sampled_from([f"town{n}" for n in range(7)]), max_size=3),
        limit=st.none() | st.integers(0, 12),
        offset=st.none() | st.integers(0, 12),
        after=st.none() | st.integers(0, ROWS),
        down=st.booleans(),
        stream=st.sampled_from([{}, {"yield_per": 3}, {"stream_results": True}]),
        size=st.none() | st.integers(1, 5),
        whole=st.booleans(),
    )
    def check(
        towns: Any, limit: Any, offset: Any, after: Any, down: Any, stream: Any, size: Any, whole: Any
    ) -> None:
        expected = [n for n, town in clinic.towns.items() if town in towns and n > (after or 0)]
        expected = expected[::-1] if down else expected
        expected = expected[offset or 0 :]
        expected = expected if limit is None else expected[:limit]
        what = (Patient,) if whole else (Patient.id, Patient.town.label("t"), Patient.clinic)
        statement = select(*what).where(Patient.town.in_(towns)).limit(limit).offset(offset)
        statement = statement.order_by(Patient.id.desc() if down else Patient.id)
        statement = statement if after is None else statement.where(Patient.id > after)
        result = clinic.session.execute(statement, execution_options=stream)
        parts = [result.all()] if size is None else list(result.partitions(size))
        rows = [row[0].id if whole else row[0] for part in parts for row in part]
        assert rows == expected
        if size is not None:
            assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)

    check()


def test_every_way_to_take_rows_gives_those_that_were_asked_for(clinic: Clinic) -> None:
    ids, Patient, session = clinic.ids(), clinic.Patient, clinic.session
    statement = clinic.asked()
    rows = select(Patient.id, Patient.town).where(Patient.town == "town3").order_by(Patient.id)
    assert session.scalars(statement).first().id == ids[0]
    assert session.scalar(statement).id == ids[0]
    assert session.execute(rows).fetchmany(4) == [(n, "town3") for n in ids[:4]]
    assert session.execute(rows).mappings().all()[-1] == {"id": ids[-1], "town": "town3"}
    result = session.execute(rows)
    assert [result.fetchone()[0] for _ in ids] == ids  # type: ignore[index]
    assert result.fetchone() is None and result.fetchall() == []
    one = statement.where(Patient.id < 4)
    assert session.scalars(one).one().id == session.scalars(one).one_or_none().id == ids[0]
    assert session.scalars(statement.where(Patient.id < 3)).one_or_none() is None
    assert session.query(Patient).filter(Patient.town == "town3").order_by(Patient.id)[1:3][0].id == ids[1]
    assert clinic.found(statement.slice(2, 5)) == ids[2:5]
    connection = session.connection()
    with connection.execution_options(stream_results=True).execute(rows.limit(3)) as streamed:
        assert streamed.fetchone() == (ids[0], "town3")
        assert [row.id for row in streamed] == ids[1:3]
    assert [row[0] for row in connection.execute(rows.limit(2)).yield_per(1)] == ids[:2]


def test_rows_stand_for_aliases_joins_and_distinct_rows_too(clinic: Clinic) -> None:
    ids, Patient, Visit = clinic.ids(), clinic.Patient, clinic.Visit
    other = aliased(Patient)
    assert clinic.found(select(other).where(other.town == "town3").order_by(other.id)) == ids
    pairs = (
        select(Patient.id, Patient.town, other.id, other.town)
        .where(Patient.town == "town3", other.town == "town4", other.id == Patient.id + 1)
        .order_by(Patient.id)
    )
    assert [row[0] for row in clinic.session.execute(pairs)] == ids
    assert [row[2] for row in clinic.session.execute(pairs)] == [n + 1 for n in ids]
    visited = [n for n in clinic.ids("town5") if n % 3]
    joined = clinic.asked("town5").join(Visit)
    assert clinic.found(joined.distinct()) == clinic.found(joined.distinct().limit(50)) == visited
    assert clinic.found(joined.options(contains_eager(Patient.visits))) == visited
    for load in (selectinload, joinedload):
        loaded = clinic.session.scalars(clinic.asked("town5").options(load(Patient.visits))).unique().all()
        assert [len(one.visits) for one in loaded] == [n % 3 for n in clinic.ids("town5")]
    table = Patient.__table__
    core = select(table).where(table.c.town == "town3").order_by(table.c.id)
    assert [row.id for row in clinic.session.connection().execute(core)] == ids
    both = and_(Patient.id > 0, and_(Patient.town == "town3", Patient.name == "Ann"))
    assert clinic.found(select(Patient).where(both).order_by(Patient.id)) == [n for n in ids if n % 3 == 0]
    given = select(Patient).options(with_loader_criteria(Patient, Patient.town == "town3"))
    assert clinic.found(given.order_by(Patient.id).limit(3)) == ids[:3]


def test_a_cached_statement_is_compared_with_the_value_of_each_call(clinic: Clinic) -> None:
    Patient, session = clinic.Patient, clinic.session
    named = (
        select(Patient).where(Patient.town == bindparam("asked")).order_by(Patient.id).limit(bindparam("n"))
    )

    def by_lambda(town: str, limit: int) -> Any:
        statement = lambda_stmt(lambda: select(Patient).where(Patient.town == town))
        statement += lambda one: one.order_by(Patient.id).limit(limit)
        return statement

    for town, n in (("town1", 2), ("town2", 5), ("town9", 3), ("town1", 4)):
        assert clinic.found(clinic.asked(town).limit(n)) == clinic.ids(town)[:n]
        assert clinic.found(by_lambda(town, n)) == clinic.ids(town)[:n]
        given = session.scalars(named, {"asked": town, "n": n})
        assert [one.id for one in given] == clinic.ids(town)[:n]
    assert session.scalars(named, {"asked": None, "n": 3}).all() == []
    assert clinic.found(select(Patient).where(Patient.town.in_([]))) == []
    assert clinic.found(select(Patient).where(Patient.town.in_([None, "town1"])).order_by(Patient.id)) == (
        clinic.ids("town1")
    )


def test_a_case_that_counts_is_compared_on_a_folded_index(clinic: Clinic) -> None:
    for name, rest in (("Ann", 0), ("ANN", 1), ("ann", 2)):
        found = clinic.found(select(clinic.Patient).where(clinic.Patient.name == name))
        assert sorted(found) == [n for n in clinic.towns if n % 3 == rest]


def test_a_page_is_read_again_as_a_whole_where_rows_are_missing(small_clinic: Clinic) -> None:
    Patient, session = small_clinic.Patient, small_clinic.session
    session.execute(delete(Patient).where(Patient.clinic == "acme"))
    rows = [{"id": n, "clinic": "acme", "town": "near"} for n in range(1, 400)]
    session.execute(insert(Patient), rows)
    session.execute(
        insert(Patient), [{"id": n, "clinic": "acme", "town": f"far{n}"} for n in range(500, 530)]
    )
    session.commit()
    alike = next(n for n in range(500, 530) if _token(small_clinic, n) == _token(small_clinic, 1))
    sent = _sent(small_clinic)
    assert small_clinic.found(small_clinic.asked(f"far{alike}").limit(1)) == [alike]
    assert [one[-2] for _, one in sent] == [17, 136, 1088]
    sent.clear()
    assert small_clinic.found(small_clinic.asked("near").offset(5).limit(20)) == list(range(6, 26))
    assert [tuple(one[-2:]) for _, one in sent] == [(47, 0)]
    sent.clear()
    stream = session.scalars(small_clinic.asked("near").limit(3), execution_options={"yield_per": 10})
    assert [one.id for one in stream] == [1, 2, 3]
    assert len(sent) == 1


def _token(clinic: Clinic, key: int) -> Any:
    ((token,),) = clinic.session.execute(text(f"SELECT town_exact FROM patients WHERE id = {key}"))
    return token


PLACES: dict[str, Callable[[Clinic], Any]] = {
    "OR": lambda c: select(c.Patient).where(or_(c.Patient.town == "x", c.Patient.id == 1)),
    "AND and OR": lambda c: _twice(c),
    "NOT": lambda c: select(c.Patient).where(not_(c.Patient.town == "x")),
    "CASE": lambda c: select(c.Patient).where(case((c.Patient.town == "x", 1), else_=0) == 1),
    "a function": lambda c: select(c.Patient).where(func.coalesce(c.Patient.town == "x", False)),
    "a comparison": lambda c: select(c.Patient).where((c.Patient.town == "x").is_(True)),
    "a column": lambda c: select(c.Patient, c.Patient.town == "x"),
    "ORDER BY": lambda c: select(c.Patient).order_by(c.Patient.town == "x"),
    "GROUP BY": lambda c: c.asked().with_only_columns(c.Patient.id, c.Patient.town).group_by(c.Patient.id),
    "HAVING": lambda c: select(c.Patient).group_by(c.Patient.id).having(c.Patient.town == "x"),
    "count": lambda c: select(func.count()).select_from(c.Patient).where(c.Patient.town == "x"),
    "count of a subquery": lambda c: select(func.count()).select_from(c.asked().subquery()),
    "an aggregate": lambda c: select(func.max(c.Patient.id), c.Patient.town).where(c.Patient.town == "x"),
    "a window": lambda c: select(c.Patient, func.row_number().over()).where(c.Patient.town == "x"),
    "exists": lambda c: select(exists().where(c.Patient.town == "x")),
    "IN": lambda c: select(c.Visit).where(
        c.Visit.patient_id.in_(select(c.Patient.id).where(c.Patient.town == "x"))
    ),
    "a relationship": lambda c: select(c.Visit).where(c.Visit.patient.has(c.Patient.town == "x")),
    "a subquery": lambda c: select(c.asked().limit(3).subquery()),
    "a CTE": lambda c: select(c.asked().cte()),
    "UNION": lambda c: union_all(c.asked(), c.asked()),
    "a join": lambda c: select(c.Patient).join(
        c.Visit, and_(c.Visit.patient_id == c.Patient.id, c.Patient.town == "x")
    ),
    "joinedload and a limit": lambda c: c.asked().limit(3).options(joinedload(c.Patient.visits)),
    "subqueryload": lambda c: c.asked().options(subqueryload(c.Patient.visits)),
    "UPDATE": lambda c: update(c.Patient).where(c.Patient.town == "x").values(town="y"),
    "UPDATE of a table": lambda c: (
        update(c.Patient.__table__).where(c.Patient.__table__.c.town == "x").values(id=3)
    ),
    "DELETE": lambda c: delete(c.Patient).where(c.Patient.town == "x"),
    "INSERT": lambda c: insert(c.Visit).from_select(
        ["patient_id"], select(c.Patient.id).where(c.Patient.town == "x")
    ),
    "a column that is not given": lambda c: select(c.Patient.id).where(c.Patient.town == "x"),
    "a column that is not loaded": lambda c: c.asked().options(defer(c.Patient.town)),
    "a column of another alias": lambda c: _of_another_alias(c),
    "a column inside a function": lambda c: select(func.coalesce(c.Patient.town, c.Patient.town)).where(
        c.Patient.town == "x"
    ),
    "a LIMIT that is SQL": lambda c: c.asked().limit(literal_column("3")),
    "an OFFSET that is SQL": lambda c: c.asked().limit(3).offset(select(1).scalar_subquery()),
    "a LIMIT that is compared too": lambda c: (
        c.asked().where(c.Patient.id > bindparam("n", 3)).limit(bindparam("n", 3))
    ),
    "ties": lambda c: c.asked().fetch(3, with_ties=True),
}


def _twice(clinic: Clinic) -> Any:
    one = clinic.Patient.town == "x"
    return select(clinic.Patient).where(one, or_(one, clinic.Patient.id == 1))


def _of_another_alias(clinic: Clinic) -> Any:
    other = aliased(clinic.Patient)
    return select(other).where(clinic.Patient.town == "x", other.id == clinic.Patient.id)


@pytest.mark.parametrize("place", PLACES)
def test_candidates_are_refused_where_rows_cannot_be_dropped(small_clinic: Clinic, place: str) -> None:
    statement = PLACES[place](small_clinic)
    sent = _sent(small_clinic)
    with pytest.raises(UnsupportedOperation, match=r"compared again once they are opened"):
        small_clinic.session.execute(statement).all()
    if place != "subqueryload":
        assert sent == [] or "SELECT" not in sent[0][0]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_one_row_for_each_value_is_refused(clinic: Clinic) -> None:
    on = getattr(postgresql, "distinct_on", None)  # since SQLAlchemy 2.1
    asked, key = clinic.asked(), clinic.Patient.id
    with pytest.raises(UnsupportedOperation, match="DISTINCT ON"):
        clinic.session.execute(asked.distinct(key) if on is None else asked.ext(on(key)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda Patient: Patient.town != "x",
        lambda Patient: Patient.town.not_in(["x"]),
        lambda Patient: Patient.town.is_distinct_from("x"),
        lambda Patient: Patient.town == aliased(Patient).town,
        lambda Patient: Patient.name != "Ann",
    ],
)
def test_what_leaves_rows_out_is_refused_when_it_is_compiled(small_clinic: Clinic, ask: Any) -> None:
    statement = select(small_clinic.Patient).where(ask(small_clinic.Patient))
    with pytest.raises(UnsupportedOperation):
        statement.compile()


def test_a_refusal_names_what_answers_exactly(small_clinic: Clinic) -> None:
    statement = select(small_clinic.Patient.id).where(small_clinic.Patient.town == "x")
    with pytest.raises(UnsupportedOperation, match=r"patients\.town: .*select that too.*index=\[Exact\(\)\]"):
        small_clinic.session.execute(statement)


def test_the_tenant_is_named_as_for_any_question(small_clinic: Clinic) -> None:
    with tenant_scope("globex"):
        assert small_clinic.found(small_clinic.asked()) == []
    statement = small_clinic.asked().where(small_clinic.Patient.clinic == "acme")
    with tenant_scope(None), pytest.raises(TenantRequired):
        small_clinic.found(small_clinic.asked())
    with tenant_scope(None):
        assert small_clinic.found(statement) == small_clinic.ids()


def test_a_row_of_another_tenant_is_not_dropped_in_silence(small_clinic: Clinic) -> None:
    token = _token(small_clinic, small_clinic.ids()[0])
    with small_clinic.vault.session() as session, tenant_scope(None):
        session.add(small_clinic.Patient(id=500, clinic="globex", town="x"))
        session.flush()
        session.execute(text("UPDATE patients SET town_exact = :token WHERE id = 500"), {"token": token})
        session.commit()
    with pytest.raises(TenantMismatch):
        small_clinic.found(small_clinic.asked())


def test_a_revoked_tenant_cannot_be_searched(make_vault: Callable[..., Vault]) -> None:
    vault = make_vault()

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str]
        town: Mapped[str] = mapped_column(EncryptedType(String(40), on_revoked="seal", index=[Exact(bits=1)]))
        login: Mapped[str] = mapped_column(
            EncryptedType(String(40), on_revoked="seal", index=[Exact(bits=1, across_tenants=True)])
        )

    vault.create()
    vault.keyring.assign("acme", "local:theirs")
    with vault.session() as session:
        session.add(Person(id=1, clinic="acme", town="x", login="y"))
        session.commit()
    vault.provider.disable("local:theirs")
    vault.restart()
    for criterion in (Person.town == "x", Person.login == "y"):
        with vault.session() as session, pytest.raises(KeyRevoked):
            session.scalars(select(Person).where(Person.clinic == "acme", criterion)).all()
