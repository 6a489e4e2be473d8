"""Indexes over several columns: what they find, what they let be written, and what is refused."""

from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Date,
    ForeignKey,
    Integer,
    String,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.search import Compound, Exact, Range, fold
from tests.search.twin import PLAIN_TEXT, Twins
from tests.support.upserts import brought, on_conflict, upsert
from tests.support.vault import Vault

MAY, JUNE = date(1980, 5, 4), date(1980, 6, 4)


class Clinic:
    """Patients whose name and date of birth together have an index."""

    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            __cmk_indexes__ = (Compound("last", "born", unique=True),)
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            last: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
            born: Mapped[date | None] = mapped_column(EncryptedType(Date))

        self.vault, self.Patient = vault, Patient
        self.table: Any = Patient.__table__
        vault.create()

    def found(self, *conditions: Any, clinic: str = "acme", session: Session | None = None) -> list[int]:
        query = select(self.Patient.id).where(self.Patient.clinic == clinic, *conditions)
        with nullcontext(session) if session else self.vault.session() as one:
            return list(one.scalars(query.order_by(self.Patient.id)))

    def of(self, last: str, born: date, clinic: str = "acme", session: Session | None = None) -> list[int]:
        both = self.Patient.last == last, self.Patient.born == born
        return self.found(*both, clinic=clinic, session=session)


@pytest.fixture
def clinic(vault: Vault) -> Clinic:
    clinic = Clinic(vault)
    with vault.session() as session:
        session.add_all(
            [
                clinic.Patient(id=1, clinic="acme", last="Ann", born=MAY),
                clinic.Patient(id=2, clinic="acme", last="Ann", born=JUNE),
                clinic.Patient(id=3, clinic="acme", last="Bob", born=None),
                clinic.Patient(id=4, clinic="globex", last="Ann", born=MAY),
            ]
        )
        session.commit()
    return clinic


def test_a_row_is_found_by_all_columns_together(clinic: Clinic) -> None:
    assert clinic.of("Ann", MAY) == [1]
    assert clinic.of("Ann", JUNE) == [2]
    assert clinic.of("Ann", MAY, "globex") == [4]
    assert clinic.of("Bob", MAY) == []


def test_it_is_asked_in_every_way_in_which_conditions_hold_together(clinic: Clinic) -> None:
    P = clinic.Patient
    both = and_(P.last == "Ann", P.born == MAY)
    assert clinic.found(both) == [1]
    assert clinic.found(P.id < 9, P.born == MAY, P.last == "Ann") == [1]
    assert clinic.found(or_(both, P.id == 3)) == [1, 3]
    assert clinic.found(or_(both, and_(P.last == "Ann", P.born == JUNE))) == [1, 2]
    assert clinic.found(P.last == "Ann", P.born.in_([MAY, JUNE])) == [1, 2]
    assert clinic.found(P.last.in_(["Bob", "Ann"]), P.born == JUNE) == [2]
    assert clinic.found(P.last.in_([]), P.born == JUNE) == []
    other = aliased(P)
    inside = select(other.id).where(other.clinic == "acme", other.last == "Ann", other.born == MAY)
    assert clinic.found(P.id.in_(inside)) == [1]
    with tenant_scope("acme"):
        assert clinic.found(exists().where(other.id == P.id, other.last == "Ann", other.born == MAY)) == [1]


def test_it_counts_updates_and_deletes(clinic: Clinic) -> None:
    P = clinic.Patient
    both = (P.clinic == "acme", P.last == "Ann", P.born == MAY)
    with clinic.vault.session() as session, tenant_scope("acme"):
        assert session.scalar(select(func.count()).select_from(P).where(*both)) == 1
        assert session.query(P).filter(*both).count() == 1
        session.execute(update(P).where(*both).values(last="Cid", born=JUNE))
        session.execute(delete(P).where(P.clinic == "acme", P.last == "Ann", P.born == JUNE))
        session.commit()
    assert clinic.of("Cid", JUNE) == [1]
    assert clinic.of("Ann", MAY) == clinic.of("Ann", JUNE) == []


def _new(n: int) -> dict[str, Any]:
    return {"id": n, "clinic": "acme", "last": "new", "born": date(2000, 1, n)}


def _old(clinic: Clinic, session: Any) -> None:
    session.add_all([clinic.Patient(**{**_new(n), "last": "old"}) for n in (11, 12)])
    session.flush()


def _add(clinic: Clinic, session: Any) -> None:
    session.add_all([clinic.Patient(**_new(n)) for n in (11, 12)])


def _bulk(clinic: Clinic, session: Any) -> None:
    session.execute(insert(clinic.Patient), [_new(n) for n in (11, 12)])


def _rows(clinic: Clinic, session: Any) -> None:
    session.execute(insert(clinic.Patient).values([_new(n) for n in (11, 12)]))


def _core(clinic: Clinic, session: Any) -> None:
    session.connection().execute(clinic.table.insert(), [_new(n) for n in (11, 12)])


def _single(clinic: Clinic, session: Any) -> None:
    for n in (11, 12):
        session.execute(insert(clinic.table).values(**_new(n)))


def _common(clinic: Clinic, session: Any) -> None:
    statement = insert(clinic.table).values(clinic="acme", last="new", born=bindparam("day"))
    session.connection().execute(statement, [{"id": n, "day": date(2000, 1, n)} for n in (11, 12)])


def _attribute(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        session.get(clinic.Patient, n).last = "new"


def _expired(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    patients = [session.get(clinic.Patient, n) for n in (11, 12)]
    session.expire_all()
    for patient in patients:
        patient.last = "new"


def _by_key(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    session.execute(update(clinic.Patient), [{"id": n, "last": "new"} for n in (11, 12)])


def _named_rows(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        session.execute(update(clinic.table).where(clinic.table.c.id == n).values(last="new"))


def _ordered(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        row = update(clinic.table).where(clinic.table.c.id == n)
        session.execute(row.ordered_values(("born", date(2000, 1, n)), ("last", "new")))


def _whole(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    P = clinic.Patient
    for n in (11, 12):
        criteria = P.clinic == "acme", P.last == "old", P.born == date(2000, 1, n)
        session.execute(update(P).where(*criteria).values(last="new", born=date(2000, 1, n)))


def _moved(clinic: Clinic, session: Any) -> None:
    session.add_all([clinic.Patient(**{**_new(n), "clinic": "globex"}) for n in (11, 12)])
    session.flush()
    for n in (11, 12):
        session.get(clinic.Patient, n).clinic = "acme"


def _conflict(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        statement = upsert(clinic.vault.engine, clinic.table).values(id=n, clinic="acme", last="x")
        session.execute(on_conflict(statement, last="new", born=date(2000, 1, n)))


def _excluded(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    statement = upsert(clinic.vault.engine, clinic.table).values([_new(n) for n in (11, 12)])
    new = brought(statement)
    session.execute(on_conflict(statement, last=new.last, born=new.born))


WAYS = [
    *(_add, _bulk, _rows, _core, _single, _common, _attribute, _expired, _by_key, _named_rows, _ordered),
    *(_whole, _moved, _conflict, _excluded),
]


def test_a_row_is_found_by_what_was_written_last_in_every_way(clinic: Clinic) -> None:
    for way in WAYS:
        with clinic.vault.session() as session:
            way(clinic, session)
            session.flush()
            found = [clinic.of("new", date(2000, 1, n), session=session) for n in (11, 12)]
            assert found == [[11], [12]], way.__name__
            old = clinic.of("old", date(2000, 1, 11), session=session)
            assert old == clinic.of("new", date(2000, 1, 11), "globex", session) == [], way.__name__
            session.rollback()


TEXTS = [None, "", "a", "A", "ab", "\u0131", "e\u0301", "é", "李", "\U0001f600", "%"]
DAYS = [None, date.min, MAY, JUNE, date.max]


def test_it_answers_as_a_plain_twin_does_whatever_is_written(vault: Vault) -> None:
    sealed = {
        "last": EncryptedType(String(80)),
        "first": EncryptedType(String(80)),
        "born": EncryptedType(Date),
    }
    plain = {"last": PLAIN_TEXT, "first": PLAIN_TEXT, "born": Date()}
    twins = Twins(vault, sealed, plain, (Compound("last", "first", "born"),))
    rows = [{"last": one, "first": other, "born": MAY} for one in TEXTS for other in ("a", "b", "")]
    texts = [one for one in TEXTS if one is not None]
    twins.add(rows, rows)

    def check(asked: tuple[int, dict[str, Any], str, list[str], date]) -> None:
        number, changed, last, firsts, born = asked
        found = []
        for model in (twins.Sealed, twins.Plain):
            if changed:
                twins.session.execute(update(model).where(model.id == number).values(**changed))
            asked_for = model.last == last, model.first.in_(firsts), model.born == born
            apart = or_(and_(*asked_for), and_(model.born == JUNE, model.last == "a", model.first == "b"))
            found.append([list(twins.session.scalars(_ids(model, one))) for one in (and_(*asked_for), apart)])
        assert found[0] == found[1]

    text = st.sampled_from(texts)
    changes = st.fixed_dictionaries(
        {}, optional={"last": text | st.none(), "first": text, "born": st.sampled_from(DAYS)}
    )
    days = st.sampled_from([one for one in DAYS if one])
    questions = st.tuples(st.integers(1, len(rows)), changes, text, st.lists(text, max_size=3), days)
    twins.check_all(check, questions)
    twins.session.close()


def _ids(model: Any, criterion: Any) -> Any:
    return select(model.id).where(criterion).order_by(model.id)


def test_rows_of_a_tenant_are_unique_in_all_columns_together(clinic: Clinic) -> None:
    with clinic.vault.session() as session:
        session.add_all(clinic.Patient(id=n, clinic="acme", last="Bob") for n in (11, 12))
        session.commit()
        session.add(clinic.Patient(id=13, clinic="acme", last="Ann", born=MAY))
        with pytest.raises(IntegrityError):
            session.commit()


def test_named_values_come_from_the_statement_or_its_execution(clinic: Clinic) -> None:
    P = clinic.Patient
    both = P.last == bindparam("last", "Ann"), P.born == bindparam("born", JUNE)
    asked = select(P.id).where(P.clinic == "acme", *both)
    with clinic.vault.session() as session, tenant_scope("acme"):
        assert session.scalars(asked).all() == [2]
        assert session.scalars(asked.params(born=MAY)).all() == [1]
        assert session.scalars(asked.params(born=MAY), {"born": JUNE}).all() == [2]
        assert session.scalars(select(P.id).where(P.id.in_(asked)).params(born=MAY)).all() == [1]
        assert session.scalars(select(P.id).where(P.id.in_(asked.params(born=MAY)))).all() == [1]


def test_an_upsert_finds_a_conflict_by_the_hidden_column(clinic: Clinic) -> None:
    statement = upsert(clinic.vault.engine, clinic.table).values(clinic="acme", last="Ann", born=MAY, id=9)
    if hasattr(statement, "on_conflict_do_nothing"):
        statement = statement.on_conflict_do_nothing(index_elements=["last_born_compound"])
    else:
        statement = statement.on_duplicate_key_update(id=1)
    with clinic.vault.session() as session:
        session.execute(statement)
        session.commit()
    assert clinic.of("Ann", MAY) == [1]


def test_a_null_has_no_token_and_is_equal_to_nothing(clinic: Clinic) -> None:
    P = clinic.Patient
    assert clinic.vault.raw("SELECT last_born_compound IS NULL FROM patients WHERE id = 3") == [(1,)]
    with clinic.vault.session() as session:
        session.get_one(P, 1).born = None
        session.commit()
        both = P.clinic == "acme", P.last == bindparam("last"), P.born == bindparam("born")
        asked = select(P.id).where(*both)
        assert session.scalars(asked, {"last": "Ann", "born": None}).all() == []
        assert session.scalars(asked, {"last": "Ann", "born": JUNE}).all() == [2]
    assert clinic.of("Ann", MAY) == []


def test_what_it_cannot_answer_is_refused(clinic: Clinic) -> None:
    P = clinic.Patient
    inner = select(P).subquery()
    for criteria in (
        (P.last == "Ann",),
        (P.last == "Ann", P.born != MAY),
        (P.last == "Ann", or_(P.born == MAY, P.id == 1)),
        (~and_(P.last == "Ann", P.born == MAY),),
        (P.last == "Ann", aliased(P).born == MAY),
        (P.last.in_(["Ann"]), P.born.in_([MAY])),
        (P.last == P.last, P.born == MAY),
        (inner.c.last == "Ann", inner.c.born == MAY),
    ):
        with pytest.raises(UnsupportedOperation, match="Compound\\('last', 'born'\\) answers =="):
            clinic.found(*criteria)


def test_a_part_of_its_columns_is_written_only_where_rows_are_named(clinic: Clinic) -> None:
    P, table = clinic.Patient, clinic.table
    for statement, reason in (
        (update(P).where(P.clinic == "acme").values(last="x"), "give all, or name each row"),
        (update(P).where(P.id == 1).values(last=P.last), "give the value itself"),
        (on_conflict(_brought(clinic), last="x"), "set all"),
    ):
        with clinic.vault.session() as session, pytest.raises(UnsupportedOperation, match=reason):
            session.execute(statement)
    assert table.c.last_born_compound not in list(select(table).selected_columns)
    assert clinic.of("Ann", MAY) == [1]


def _brought(clinic: Clinic) -> Any:
    return upsert(clinic.vault.engine, clinic.table).values(id=1, clinic="acme", last="x", born=MAY)


def test_a_changed_attribute_goes_with_what_the_row_holds_now(clinic: Clinic) -> None:
    with clinic.vault.session() as session:
        loaded = session.get_one(clinic.Patient, 1)
        session.execute(update(clinic.table).where(clinic.table.c.id == 1).values(born=date(1999, 1, 1)))
        assert loaded.born == MAY
        loaded.last = "Zoe"
        session.commit()
        assert loaded.born == date(1999, 1, 1)
    assert clinic.of("Zoe", date(1999, 1, 1)) == [1]


def test_it_goes_with_other_indexes_of_its_columns(make_vault: Any) -> None:
    vault: Vault = make_vault()

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_indexes__ = (Compound("last", "first", "born", "city", name="all"),)
        id: Mapped[int] = mapped_column(primary_key=True)
        last: Mapped[str] = mapped_column("family", EncryptedType(String(40), index=[Exact()]))
        first: Mapped[str] = mapped_column(EncryptedType(String(40), index=[Exact(normalize=fold)]))
        born: Mapped[date] = mapped_column(
            EncryptedType(Date, index=[Range(date(1900, 1, 1), date(2100, 1, 1))])
        )
        city: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))

    vault.create()
    with vault.session() as session:
        session.add(Person(last="a", first="B", born=MAY, city="c"))
        session.commit()
        found = Person.first == "B", Person.last == "a", Person.born == MAY, Person.city == "c"
        assert session.scalar(select(func.count()).select_from(Person).where(*found)) == 1
        # "b" is another text: what only the folded index answers is not taken for equality.
        folded = Person.first.iequals("b"), *found[1:]
        assert session.scalar(select(func.count()).select_from(Person).where(*folded)) == 1
        assert session.scalars(select(Person).where(Person.first == "b", *found[1:])).all() == []
    assert [len(bytes(one)) for (one,) in vault.raw("SELECT family_all FROM people")] == [16]


def test_it_is_declared_where_models_are_and_on_tables(make_vault: Any) -> None:
    vault: Vault = make_vault()

    class Named:
        __cmk_indexes__ = (Compound("last", "born"),)
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(10))
        last: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        born: Mapped[date | None] = mapped_column(EncryptedType(Date))

    class Person(Named, vault.base):
        __tablename__ = "people"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

    class Guest(Person):
        __cmk_indexes__ = (Compound("last", "room"),)
        room: Mapped[str | None] = mapped_column(EncryptedType(String(9)))
        __mapper_args__ = {"polymorphic_identity": "guest"}  # noqa: RUF012

    class Employee(Person):
        __tablename__ = "employees"
        __cmk_indexes__ = (Compound("badge", "desk"),)
        id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
        badge: Mapped[str] = mapped_column(EncryptedType(String(9)))
        desk: Mapped[str] = mapped_column(EncryptedType(String(9)))
        __mapper_args__ = {"polymorphic_identity": "employee"}  # noqa: RUF012

    places = Table(
        "places",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("street", EncryptedType(String(9))),
        Column("town", EncryptedType(String(9))),
        info={"cmk_indexes": [Compound("street", "town", unique=True)]},
    )
    elsewhere: Vault = make_vault()
    copied = places.to_metadata(elsewhere.base.metadata)
    vault.create()
    elsewhere.create()
    with vault.session() as session:
        session.add_all(
            [Guest(last="a", born=MAY, room="1"), Employee(last="a", born=JUNE, badge="2", desk="3")]
        )
        session.commit()
        asked = (
            (Person, (Person.last == "a", Person.born == MAY)),
            (Guest, (Guest.last == "a", Guest.room == "1")),
            (Employee, (Employee.badge == "2", Employee.desk == "3")),
            (Employee, (Employee.last == "a", Employee.born == JUNE)),
        )
        for model, criteria in asked:
            assert len(session.scalars(select(model).where(*criteria)).all()) == 1
        session.scalars(select(Employee)).one().desk = "4"
        session.commit()
        moved = select(Employee.last).where(Employee.badge == "2", Employee.desk == "4")
        assert session.scalars(moved).all() == ["a"]
    for there, table in ((vault, places), (elsewhere, copied)):
        with there.engine.begin() as connection:
            connection.execute(table.insert().values(street="x", town="y"))
            where = table.c.street == "x", table.c.town == "y"
            assert connection.scalars(select(table.c.id).where(*where)).all() == [1]


def test_what_cannot_be_indexed_together_is_refused_when_it_is_declared(make_vault: Any) -> None:
    columns: dict[str, Any] = {
        "last": lambda: EncryptedType(String(9)),
        "ours": lambda: EncryptedType(String(9), owner="platform"),
        "plain": lambda: String(9),
    }
    for given, reason in (
        ([Compound("last", "none")], "not a column"),
        ([Compound("last", "plain")], "is not sealed"),
        ([Compound("last", "ours")], "belong to the row's tenant and others to the platform"),
        ([Exact()], "a tuple of indexes over several columns"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            Table(
                "people",
                make_vault().base.metadata,
                Column("id", Integer, primary_key=True),
                *(Column(key, made()) for key, made in columns.items()),
                info={"cmk_indexes": given},
            )
    for names in (("last",), ("last", "last")):
        with pytest.raises(ConfigurationError, match="different columns"):
            Compound(*names)
