"""A row-bound value is written for its row, whichever statement brings it, and opens in that row only."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Identity,
    Integer,
    String,
    Table,
    bindparam,
    func,
    insert,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, aliased, defer, joinedload, load_only, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from sqlalchemy_cmk import (
    CmkError,
    ConfigurationError,
    EncryptedType,
    KeyRevoked,
    TamperedError,
    UnsupportedOperation,
    tenant_scope,
)
from sqlalchemy_cmk.columns.sealed import Sealed
from tests.hooks.notes import Notes, bound
from tests.support.vault import Vault

INSERT: dict[str, Any] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}
ROWS = [{"id": 1, "clinic": "acme", "text": "text 1"}, {"id": 2, "clinic": "globex", "text": "text 2"}]


@pytest.fixture
def notes(vault: Vault) -> Notes:
    return Notes(vault)


def texts(notes: Notes, model: Any = None, order: Any = None) -> list[Any]:
    notes.vault.restart()
    model = model or notes.Note
    with notes.vault.session() as session:
        return [one.text for one in session.scalars(select(model).order_by(order or model.id))]


# Writing


def test_objects_that_are_added_merged_or_saved_in_bulk_open_in_their_rows(notes: Notes) -> None:
    with notes.vault.session() as session:
        session.add(notes.Note(**ROWS[0]))
        session.merge(notes.Note(**ROWS[1]))
        session.bulk_save_objects([notes.Note(id=3, clinic="acme", text="text 3")])
        session.bulk_insert_mappings(notes.Note, [{"id": 4, "clinic": "acme", "text": "text 4"}])
        session.commit()
    assert texts(notes) == ["text 1", "text 2", "text 3", "text 4"]


def test_inserts_of_the_orm_and_core_open_in_their_rows(notes: Notes) -> None:
    table = notes.Note.__table__
    notes.run(insert(notes.Note), ROWS)
    notes.run(insert(table).values(id=3, clinic="acme", text="text 3"))
    notes.run(
        insert(table).values(
            [{"id": 4, "clinic": "acme", "text": "text 4"}, {"id": 5, "clinic": "acme", "text": None}]
        )
    )
    named = insert(table).values(id=bindparam("i"), clinic="acme", text=bindparam("t"))
    notes.run(named, [{"i": 6, "t": "text 6"}, {"i": 7, "t": "text 7"}])
    notes.run(
        insert(table).values([{"id": bindparam("i"), "clinic": "acme", "text": bindparam("t")}]),
        {"i": 8, "t": "text 8"},
    )
    assert texts(notes) == ["text 1", "text 2", "text 3", "text 4", None, "text 6", "text 7", "text 8"]


def test_one_value_for_several_rows_is_refused(notes: Notes) -> None:
    table = notes.Note.__table__
    with pytest.raises(UnsupportedOperation, match="each row"):
        notes.run(
            insert(table).values(text="same"), [{"id": 1, "clinic": "acme"}, {"id": 2, "clinic": "acme"}]
        )
    notes.fill()
    by_key = update(table).where(table.c.id == bindparam("i")).values(text="same")
    with pytest.raises(UnsupportedOperation, match="each row"):
        notes.vault.session().connection().execute(by_key, [{"i": 1}, {"i": 2}])
    assert texts(notes) == ["text 1", "text 2", "text 3"]


def test_defaults_that_python_makes_give_the_identity(notes: Notes) -> None:
    letter, visit = notes.Letter, notes.Visit
    with notes.vault.session() as session:
        session.add_all([letter(text="a"), letter(text="b"), visit(clinic="acme", text="c")])
        session.flush()
        session.execute(insert(letter), [{"text": "d"}, {"text": "e"}])
        session.execute(insert(visit), [{"clinic": "acme", "text": "f"}, {"clinic": "globex", "text": "g"}])
        session.connection().execute(insert(letter.__table__).values([{"text": "h"}, {"text": "i"}]))
        session.connection().execute(insert(visit.__table__).values(clinic="acme", text="j"))
        session.commit()
    assert sorted(texts(notes, letter, letter.key)) == ["a", "b", "d", "e", "h", "i"]
    assert texts(notes, visit) == ["c", "f", "g", "j"]


def test_a_default_that_reads_the_row_gives_the_identity(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "named"
        name: Mapped[str] = mapped_column(String(20))
        slug: Mapped[str] = mapped_column(
            String(20), primary_key=True, default=lambda c: c.get_current_parameters()["name"].lower()
        )
        text: Mapped[str] = mapped_column(bound())

    vault.create()
    with vault.session() as session:
        session.add(Note(name="One", text="1"))
        session.flush()
        session.execute(insert(Note), [{"name": "Two", "text": "2"}, {"name": "Three", "text": "3"}])
        session.commit()
        assert {one.slug: one.text for one in session.scalars(select(Note))} == {
            "one": "1",
            "two": "2",
            "three": "3",
        }


def test_a_key_that_the_database_makes_is_refused_and_nothing_is_written(notes: Notes) -> None:
    model = notes.Counted
    for way in (
        lambda s: (s.add(model(text="x")), s.flush()),
        lambda s: (s.add_all([model(text="x"), model(text="y")]), s.flush()),
        lambda s: s.bulk_save_objects([model(text="x")]),
        lambda s: s.execute(insert(model), [{"text": "x"}, {"text": "y"}]),
        lambda s: s.execute(insert(model).values(text="x")),
        lambda s: s.execute(insert(model).values([{"text": "x"}, {"text": "y"}])),
        lambda s: s.execute(insert(model).values(id=select(func.count()).scalar_subquery(), text="x")),
    ):
        with (
            notes.vault.session() as session,
            pytest.raises(UnsupportedOperation, match=r"default=uuid4.*__cmk_row__"),
        ):
            way(session)
    assert notes.count("counted") == 0
    with notes.vault.session() as session:
        session.add_all([model(id=7, text="seven"), model(title="no text")])
        session.commit()
    notes.run(insert(model), [{"title": "no text either"}])
    assert sorted(texts(notes, model), key=str) == [None, None, "seven"]


def test_an_identity_column_that_the_database_fills_is_refused(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "identified"
        id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
        text: Mapped[str | None] = mapped_column(bound())

    vault.create()
    with vault.session() as session, pytest.raises(UnsupportedOperation, match=r"identified\.text"):
        session.add(Note(text="x"))
        session.flush()


def test_a_row_may_be_given_its_value_once_its_key_is_known(notes: Notes) -> None:
    with notes.vault.session() as session:
        one = notes.Counted(title="new")
        session.add(one)
        session.flush()
        one.text = "later"
        session.commit()
    assert texts(notes, notes.Counted) == ["later"]


def test_composite_keys_bind_all_their_columns(notes: Notes) -> None:
    entry = notes.Entry
    notes.run(insert(entry), [{"book": "a", "line": n, "text": f"a{n}"} for n in (1, 2)])
    with notes.vault.session() as session:
        session.add(entry(book="b", line=1, text="b1"))
        session.commit()
        session.get_one(entry, ("a", 2)).text = "changed"
        session.commit()
    notes.run(update(entry), [{"book": "b", "line": 1, "text": "b1 changed"}])
    assert sorted(texts(notes, entry, entry.line)) == ["a1", "b1 changed", "changed"]
    notes.move(table="entries", to="book = 'a' AND line = 1", source="book = 'b' AND line = 1")
    with pytest.raises(TamperedError):
        texts(notes, entry, entry.line)


def test_nulls_and_json_null_are_kept_apart(notes: Notes) -> None:
    with notes.vault.session() as session:
        session.add_all(
            [
                notes.Note(id=1, clinic="acme", data=None),
                notes.Note(id=2, clinic="acme", data=null()),
                notes.Note(id=3, clinic="acme", data={"a": [1]}),
            ]
        )
        session.commit()
    assert notes.vault.raw("SELECT id FROM notes WHERE data IS NULL ORDER BY id") == [(2,)]
    notes.vault.restart()
    with notes.vault.session() as session:
        found = session.scalars(select(notes.Note).order_by(notes.Note.id)).all()
        assert [one.data for one in found] == [None, None, {"a": [1]}]
    notes.move("data", source="id = 3")
    with notes.vault.session() as session, pytest.raises(TamperedError):
        session.get(notes.Note, 1)


def test_flushed_updates_and_updates_by_primary_key_keep_to_the_row(notes: Notes) -> None:
    notes.fill()
    table = notes.Note.__table__
    with notes.vault.session() as session:
        session.get_one(notes.Note, 1).text = "one"
        session.commit()
        session.bulk_update_mappings(notes.Note, [{"id": 2, "text": "two"}])
        session.execute(update(notes.Note), [{"id": 3, "text": "three"}])
        session.commit()
    assert texts(notes) == ["one", "two", "three"]
    notes.run(update(notes.Note).where(notes.Note.id == 1).values(text="1"))
    named = update(table).where(table.c.id == bindparam("i")).values(text=bindparam("t"))
    with notes.vault.engine.begin() as connection:
        connection.execute(named, [{"i": 2, "t": "2"}, {"i": 3, "t": "3"}])
    assert texts(notes) == ["1", "2", "3"]


def test_an_update_by_primary_key_reads_the_identity_that_it_does_not_name(notes: Notes) -> None:
    visit = notes.Visit
    with notes.vault.session() as session:
        session.add_all([visit(clinic=c, text=c) for c in ("acme", "globex")])
        session.commit()
        ids = session.scalars(select(visit.id).order_by(visit.id)).all()
        keys = session.scalars(select(visit.public_id).order_by(visit.id)).all()
    notes.run(update(visit), [{"id": ids[0], "text": "1"}, {"id": ids[1], "text": "2"}])
    assert texts(notes, visit) == ["1", "2"]
    notes.run(update(visit).where(visit.id == ids[0]).values(text="one"))
    with tenant_scope("globex"):
        notes.run(update(visit).where(visit.public_id == keys[1]).values(text="two"))
    assert texts(notes, visit) == ["one", "two"]


@pytest.mark.filterwarnings("ignore:.*cartesian product")
def test_an_update_that_does_not_name_its_row_is_refused(notes: Notes) -> None:
    notes.fill()
    note = notes.Note
    other = aliased(note)
    for criterion in (
        note.clinic == "acme",
        note.id.in_([1]),
        or_(note.id == 1, note.id == 2),
        other.id == 1,
    ):
        with tenant_scope("acme"), pytest.raises(CmkError):
            notes.run(
                update(note).where(criterion).values(text="x").execution_options(synchronize_session=False)
            )
    with tenant_scope("acme"), pytest.raises(UnsupportedOperation, match="name its row"):
        notes.run(update(note).where(note.clinic == "acme").values(text="x"))
    assert texts(notes) == ["text 1", "text 2", "text 3"]
    notes.run(update(note).where(note.clinic == "acme").values(text=None, title="gone"))
    assert texts(notes) == [None, None, "text 3"]


def test_a_text_key_is_bound_as_the_database_has_it(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "lettered"
        code: Mapped[str] = mapped_column(String(20), primary_key=True)
        text: Mapped[str] = mapped_column(bound())

    vault.create()
    with vault.session() as session:
        session.add_all([Note(code="ABC", text="1"), Note(code="Def", text="2")])
        session.commit()
        # A collation may take these keys for the rows' own.
        session.execute(update(Note.__table__).where(Note.code == "abc").values(text="x"))
        session.execute(update(Note.__table__).where(Note.code == "Def").values(text="y"))
        session.commit()
        found = {
            one.code: one.text
            for one in session.scalars(select(Note).execution_options(populate_existing=True))
        }
    assert found["ABC"] in ("1", "x") and found["Def"] == "y"


@pytest.mark.parametrize("loaded", ["loaded", "expired", "deferred"])
def test_a_changed_identity_seals_anew_as_a_changed_tenant_does(notes: Notes, loaded: str) -> None:
    visit, note = notes.Visit, notes.Note
    for changes in ({"public_id": uuid4()}, {"public_id": uuid4(), "clinic": "globex"}, {"clinic": "globex"}):
        with notes.vault.session() as session:
            session.add(visit(clinic="acme", text="bound", ssn="free"))
            session.add(note(id=1, clinic="acme", text="bound", data=[1]))
            session.commit()
            key = session.scalars(select(visit.id)).one()
        with notes.vault.session() as session:
            options = [load_only(visit.id)] if loaded == "deferred" else []
            one, two = session.get_one(visit, key, options=options), session.get_one(note, 1)
            if loaded == "expired":
                session.expire_all()
            for name, value in changes.items():
                setattr(one, name, value)
            two.id = 5
            two.clinic = changes.get("clinic", "acme")
            session.commit()
        notes.vault.restart()
        with notes.vault.session() as session:
            one, two = session.get_one(visit, key), session.get_one(note, 5)
            assert (one.text, one.ssn, two.text, two.data) == ("bound", "free", "bound", [1])
            assert notes.vault.owner(notes.vault.raw("SELECT text FROM visits")[0][0]) == one.clinic
            session.delete(one)
            session.delete(two)
            session.commit()


def test_a_changed_identity_and_value_are_written_together(notes: Notes) -> None:
    notes.fill()
    with notes.vault.session() as session:
        one = session.get_one(notes.Note, 3)
        one.id, one.text = 9, "new"
        session.commit()
    assert texts(notes) == ["text 1", "text 2", "new"]


def test_a_version_column_stops_a_flush_for_an_identity_that_has_changed_meanwhile(vault: Vault) -> None:
    class Slip(vault.base):
        __tablename__ = "slips"
        __cmk_tenant__ = None
        __cmk_row__ = ("code",)
        id: Mapped[int] = mapped_column(primary_key=True)
        code: Mapped[int]
        version: Mapped[int] = mapped_column()
        finding: Mapped[str] = mapped_column(EncryptedType(String(40), row_bound=True))
        __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    vault.create()
    with vault.session() as session:
        session.add(Slip(id=1, code=10, finding="first"))
        session.commit()
    with Session(vault.engine, expire_on_commit=False) as session:
        slip = session.get_one(Slip, 1)
        session.commit()  # SQLite has one writer
        with vault.session() as other:
            other.get_one(Slip, 1).code = 11
            other.commit()
        slip.finding = "second"
        with pytest.raises(StaleDataError):
            session.commit()
    with vault.session() as session:
        assert session.get_one(Slip, 1).finding == "first"


def test_an_identity_column_changes_in_a_flush_only(notes: Notes) -> None:
    notes.fill()
    note, visit = notes.Note, notes.Visit
    with notes.vault.session() as session:
        session.add(visit(clinic="acme", text="v"))
        session.commit()
        key = session.scalars(select(visit.id)).one()
        session.expunge_all()
        for statement, params in (
            (update(note).where(note.id == 1).values(id=9), None),
            (update(visit).where(visit.id == key).values(public_id=uuid4()), None),
            (update(visit).where(visit.id == key).values(public_id=uuid4(), text="x"), None),
            (update(visit), [{"id": key, "public_id": uuid4()}]),
        ):
            with pytest.raises(UnsupportedOperation, match="flush"):
                session.execute(statement, params)
        with pytest.raises(UnsupportedOperation, match="flush"):
            session.bulk_update_mappings(visit, [{"id": key, "public_id": uuid4()}])
        session.rollback()
    assert texts(notes, visit) == ["v"]


def test_upserts_leave_row_bound_columns_alone(notes: Notes) -> None:
    notes.fill()
    table = notes.Note.__table__
    row = {"id": 1, "clinic": "acme", "text": "new", "title": "t"}
    new = INSERT[notes.vault.engine.dialect.name](table).values(row)

    def upsert(statement: Any, **set_: Any) -> Any:
        if hasattr(statement, "on_conflict_do_update"):
            return statement.on_conflict_do_update(index_elements=["id"], set_=set_)
        return statement.on_duplicate_key_update(**set_)

    inserted = getattr(new, "excluded", None) if hasattr(new, "excluded") else new.inserted
    for set_ in ({"text": "x"}, {"text": inserted.text}, {"id": 9}, {"id": inserted.id}):
        with pytest.raises(UnsupportedOperation):
            notes.run(upsert(new, **set_))
    notes.run(upsert(new, title=inserted.title))
    if hasattr(new, "on_conflict_do_nothing"):
        notes.run(new.on_conflict_do_nothing())
        notes.run(new.values({**row, "id": 4}).on_conflict_do_nothing())
    else:
        notes.run(new.prefix_with("IGNORE"))
        notes.run(new.values({**row, "id": 4}).prefix_with("IGNORE"))
    assert notes.vault.raw("SELECT title FROM notes WHERE id = 1") == [("t",)]
    assert texts(notes) == ["text 1", "text 2", "text 3", "new"]


def test_a_value_may_be_copied_within_its_row_only(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "twins"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        one: Mapped[str | None] = mapped_column(bound(context="twin"))
        two: Mapped[str | None] = mapped_column(bound(context="twin"))

    vault.create()
    with vault.session() as session:
        session.add_all([Note(id=1, one="1"), Note(id=2, one="2")])
        session.commit()
        session.execute(update(Note).values(two=Note.one), execution_options={"synchronize_session": False})
        session.commit()
        assert [(n.one, n.two) for n in session.scalars(select(Note).order_by(Note.id))] == [
            ("1", "1"),
            ("2", "2"),
        ]
        other = aliased(Note)
        with pytest.raises(UnsupportedOperation):
            session.execute(update(Note.__table__).where(Note.id == 1, other.id == 2).values(two=other.one))
        session.rollback()
        # The two columns have one context, and the row is the same: no other than a change of names.
        vault.raw("SELECT 1")
        with vault.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE twins SET two = one")
        session.expire_all()
        assert session.get_one(Note, 2).two == "2"


def test_what_is_sealed_for_good_goes_back_into_its_row_only(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "kept"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        clinic: Mapped[str] = mapped_column(String(20))
        title: Mapped[str | None] = mapped_column(String(20))
        text: Mapped[str | None] = mapped_column(bound(on_revoked="seal"))

    vault.create()
    vault.keyring.assign("acme", "local:acme")
    with vault.session() as session:
        session.add_all([Note(id=n, clinic="acme", text=f"text {n}") for n in (1, 2)])
        session.commit()
    before = vault.raw("SELECT id, text FROM kept ORDER BY id")
    vault.provider.disable("local:acme")
    vault.restart()
    with vault.session() as session:
        one, two = session.scalars(select(Note).order_by(Note.id))
        assert isinstance(one.text, Sealed)
        one.title = "changed"
        value, two.text = two.text, None
        session.flush()
        two.text = value
        session.commit()
        with pytest.raises(KeyRevoked, match="cannot be moved"):
            two.text = one.text
            session.flush()
        session.rollback()
        with pytest.raises(KeyRevoked):
            one.id = 7
            session.flush()
        session.rollback()
    assert vault.raw("SELECT id, text FROM kept ORDER BY id") == before


def test_plaintext_of_an_adopted_column_is_read_and_sealed_for_its_row(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "adopted"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        text: Mapped[str | None] = mapped_column(bound(accept_plaintext=True))

    vault.create()
    with vault.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO adopted (id, text) VALUES (1, 'plain'), (2, 'other')")
    with vault.session() as session:
        one, two = session.scalars(select(Note).order_by(Note.id))
        assert (one.text, two.text) == ("plain", "other")
        two.text = "sealed"
        session.commit()
        assert session.get_one(Note, 2).text == "sealed"
    with vault.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE adopted SET text = (SELECT x.text FROM (SELECT * FROM adopted) x WHERE id = 2) "
            "WHERE id = 1"
        )
    with vault.session() as session, pytest.raises(TamperedError):
        session.get(Note, 1)


def test_the_child_of_a_joined_model_is_bound_to_its_own_key(vault: Vault) -> None:
    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        clinic: Mapped[str] = mapped_column(String(20))
        kind: Mapped[str] = mapped_column(String(20))
        name: Mapped[str] = mapped_column(bound())
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

    class Patient(Person):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
        text: Mapped[str] = mapped_column(bound())
        __mapper_args__ = {"polymorphic_identity": "patient"}  # noqa: RUF012

    class Nurse(Person):
        ward: Mapped[str | None] = mapped_column(bound())
        __mapper_args__ = {"polymorphic_identity": "nurse"}  # noqa: RUF012

    vault.create()
    with vault.session() as session:
        session.add_all([Patient(id=n, clinic="acme", name=f"name {n}", text=f"text {n}") for n in (1, 2)])
        session.add(Nurse(id=3, clinic="globex", name="name 3", ward="ward 3"))
        session.commit()
    vault.restart()
    with vault.session() as session:
        people = session.scalars(select(Person).order_by(Person.id)).all()
        assert [(p.name, getattr(p, "text", None), getattr(p, "ward", None)) for p in people] == [
            ("name 1", "text 1", None),
            ("name 2", "text 2", None),
            ("name 3", None, "ward 3"),
        ]
        people[1].text = "changed"
        people[0].clinic = "globex"
        session.commit()
        assert [p.text for p in session.scalars(select(Patient).order_by(Patient.id))] == [
            "text 1",
            "changed",
        ]
        with tenant_scope("acme"):
            rows = session.execute(select(Patient.id, Patient.text).where(Patient.clinic == "acme")).all()
        assert [tuple(row) for row in rows] == [(2, "changed")]
        session.execute(update(Patient.__table__).where(Patient.__table__.c.id == 2).values(text="by Core"))
        session.commit()
        assert session.get_one(Patient, 2).text == "by Core"


# Reading

READS: dict[str, Any] = {
    "entities": lambda s, m: s.scalars(select(m)).all(),
    "columns": lambda s, m: s.execute(select(m.text, m.id, m.clinic)).all(),
    "columns of Core": lambda s, m: s.connection().execute(select(m.__table__)).all(),
    "a label": lambda s, m: s.execute(select(m.id, m.clinic, m.text.label("other"))).all(),
    "an alias": lambda s, m: s.scalars(select(aliased(m))).all(),
    "a subquery": lambda s, m: s.execute(select(select(m.id, m.clinic, m.text).subquery())).all(),
    "a CTE": lambda s, m: s.execute(select(select(m.text, m.id, m.clinic).cte())).all(),
    "a union": lambda s, m: s.execute(
        union_all(
            select(m.id, m.clinic, m.text).where(m.id == 1), select(m.id, m.clinic, m.text).where(m.id > 1)
        )
    ).all(),
    "an entity from a union": lambda s, m: s.scalars(
        select(aliased(m, union_all(select(m).where(m.id == 1), select(m).where(m.id > 1)).subquery()))
    ).all(),
    "a deferred column": lambda s, m: [one.text for one in s.scalars(select(m).options(defer(m.text)))],
    "a deferred row": lambda s, m: [one.text for one in s.scalars(select(m).options(load_only(m.title)))],
    "refreshed rows": lambda s, m: [
        s.refresh(one, ["text"]) for one in s.scalars(select(m).options(defer(m.text))).all()
    ],
    "expired rows": lambda s, m: [
        (s.expire(one), one.text) for one in s.scalars(select(m).options(defer(m.text))).all()
    ],
    "a lazy load": lambda s, m: s.get(m, 2, options=[defer(m.text)]).parent,
    "a joined load": lambda s, m: s.scalars(
        select(m).where(m.id == 2).options(defer(m.text), joinedload(m.parent))
    ).all(),
    "yield_per": lambda s, m: s.scalars(select(m).execution_options(yield_per=1)).all(),
    "one by one": lambda s, m: s.execute(select(m.text, m.id, m.clinic)).fetchmany(9),
    "get": lambda s, m: s.get(m, 1),
}


@pytest.mark.parametrize("name", READS)
def test_a_value_opens_in_its_row_and_is_tampering_in_another(make_vault: Any, name: str) -> None:
    notes = Notes(make_vault())
    notes.fill()
    notes.sql("UPDATE notes SET parent_id = 1 WHERE id = 2")
    with notes.vault.session() as session:
        assert READS[name](session, notes.Note)
    notes.move(to="id = 1", source="id = 2")
    with notes.vault.session() as session, pytest.raises(TamperedError, match=r"notes\.text"):
        READS[name](session, notes.Note)


def test_a_moved_value_is_tampering_on_every_database(notes: Notes) -> None:
    notes.fill()
    for way in ("entities", "columns", "columns of Core", "a union", "a deferred row", "yield_per"):
        with notes.vault.session() as session:
            assert READS[way](session, notes.Note)
    notes.sql("UPDATE notes SET title = 'x'")
    notes.move(to="id = 2", source="id = 1")
    for way in ("entities", "columns", "columns of Core", "a union", "a deferred row", "yield_per"):
        with notes.vault.session() as session, pytest.raises(TamperedError, match=r"notes\.text"):
            READS[way](session, notes.Note)


def test_a_column_without_its_identity_is_refused_and_says_what_to_select(notes: Notes) -> None:
    notes.fill()
    note, entry = notes.Note, notes.Entry
    other = aliased(note)
    for query, names in (
        (select(note.text, note.clinic), "select id too"),
        (select(note.__table__.c.text), "select id too"),
        (select(entry.text, entry.book), "select book, line too"),
        (select(notes.Visit.text, notes.Visit.id), "select public_id too"),
        (select(note.text, other.id).where(note.id == other.id), "select id too"),
        (select(select(note.text, note.clinic).subquery()), "select id too"),
        (select(func.coalesce(note.text, note.text), note.clinic), "its own row only"),
    ):
        with tenant_scope("acme"), notes.vault.session() as session:
            with pytest.raises(UnsupportedOperation, match=names):
                session.execute(query).all()
            assert session.scalar(select(func.count(note.text))) == 3


def test_two_aliases_of_a_table_have_a_row_each(notes: Notes) -> None:
    notes.fill()
    notes.sql("UPDATE notes SET parent_id = 1 WHERE id = 2")
    note, parent = notes.Note, aliased(notes.Note)
    joined = select(parent.id.label("p"), parent.text, note.id, note.text, note.clinic, parent.clinic)
    joined = joined.join(parent, note.parent_id == parent.id)
    with notes.vault.session() as session:
        assert tuple(session.execute(joined).one()) == (1, "text 1", 2, "text 2", "acme", "acme")
        pairs = session.execute(select(note, parent).join(parent, note.parent_id == parent.id)).all()
        assert [(a.text, b.text) for a, b in pairs] == [("text 2", "text 1")]
        inner = (
            select(parent.id.label("p"), note.id.label("n"), note.text, note.clinic)
            .join(parent, note.parent_id == parent.id)
            .subquery()
        )
        assert tuple(session.execute(select(inner)).one()) == (1, 2, "text 2", "acme")
        with pytest.raises(UnsupportedOperation, match="select id too"):
            session.execute(select(inner.c.p, inner.c.text, inner.c.clinic)).all()
        outer = select(note.id, note.text, note.clinic, parent.id, parent.text, parent.clinic)
        outer = outer.outerjoin(parent, note.parent_id == parent.id).order_by(note.id)
        assert [row[4] for row in session.execute(outer)] == [None, "text 1", None]
        entities = select(note, parent).outerjoin(parent, note.parent_id == parent.id).order_by(note.id)
        assert [b and b.text for _, b in session.execute(entities)] == [None, "text 1", None]


def test_what_is_returned_opens_with_its_identity_or_is_refused_before_it_is_written(notes: Notes) -> None:
    if not notes.has_returning:
        return
    note, visit = notes.Note, notes.Visit
    with notes.vault.session() as session:
        rows = session.execute(insert(note).returning(note.id, note.clinic, note.text), ROWS).all()
        assert sorted(map(tuple, rows)) == [(1, "acme", "text 1"), (2, "globex", "text 2")]
        entities = session.scalars(
            insert(visit).returning(visit, sort_by_parameter_order=True),
            [{"clinic": "acme", "text": f"text {n}"} for n in range(1200)],
        )
        assert [one.text for one in entities] == [f"text {n}" for n in range(1200)]
        session.commit()
        query = update(note).where(note.id == 1).values(text="new").returning(note.id, note.clinic, note.text)
        assert tuple(session.execute(query).one()) == (1, "acme", "new")
        session.commit()
        for statement, params in (
            (insert(note).returning(note.clinic, note.text), [{"id": 9, "clinic": "acme", "text": "x"}]),
            (
                insert(visit).returning(visit.id, visit.clinic, visit.text),
                [{"clinic": "acme", "text": "x"}] * 3,
            ),
            (update(note).where(note.id == 1).values(text="x").returning(note.clinic, note.text), None),
        ):
            with pytest.raises(UnsupportedOperation, match="select"):
                session.execute(statement, params, execution_options={"synchronize_session": False})
            session.commit()
    assert texts(notes) == ["new", "text 2"]
    assert notes.count("visits") == 1200


def test_arrays_of_row_bound_values_are_refused(notes: Notes) -> None:
    if notes.vault.engine.dialect.name != "postgresql":
        return
    notes.fill()
    note = notes.Note
    with tenant_scope("acme"), notes.vault.session() as session, pytest.raises(UnsupportedOperation):
        session.execute(select(func.array_agg(note.text)).where(note.clinic == "acme")).all()


def test_an_identity_that_somebody_made_unreadable_opens_nothing(make_vault: Any) -> None:
    notes = Notes(make_vault())
    with notes.vault.session() as session:
        session.add_all([notes.Entry(book="a", line=1, text="x"), notes.Visit(clinic="acme", text="y")])
        session.commit()
    notes.sql("UPDATE entries SET line = 'no number'")
    with notes.vault.session() as session, pytest.raises(TamperedError):
        session.scalars(select(notes.Entry)).all()


# What identifies rows


def test_a_row_identity_that_cannot_serve_is_refused(make_vault: Any) -> None:
    vault = make_vault()

    def table(name: str, *columns: Any, row: Any = None) -> Table:
        info = {} if row is None else {"cmk_row": row}
        return Table(name, vault.base.metadata, *columns, Column("text", bound()), info=info)

    for one in (
        table("none", Column("id", Integer)),
        table("missing", Column("id", Integer, primary_key=True), row=("other",)),
        table("itself", Column("id", Integer, primary_key=True), row=("text",)),
        table(
            "changing",
            Column("id", Integer, primary_key=True),
            Column("at", Integer, onupdate=1),
            row=("at",),
        ),
    ):
        with pytest.raises(ConfigurationError, match=one.name), vault.engine.connect() as connection:
            connection.execute(insert(one).values(text="x"))


def test_a_sealed_deterministic_key_identifies_the_row(vault: Vault) -> None:
    class Note(vault.base):
        __tablename__ = "secretive"
        __cmk_tenant__ = "clinic"
        code: Mapped[str] = mapped_column(EncryptedType(String(20), deterministic=True), primary_key=True)
        clinic: Mapped[str] = mapped_column(String(20))
        text: Mapped[str] = mapped_column(bound())

    vault.create()
    with vault.session() as session:
        session.add_all([Note(code="A", clinic="acme", text="1"), Note(code="B", clinic="globex", text="2")])
        session.commit()
        session.execute(insert(Note), [{"code": "C", "clinic": "acme", "text": "3"}])
        session.commit()
    vault.restart()
    with vault.session() as session:
        found = {one.code: one for one in session.scalars(select(Note))}
        assert {code: one.text for code, one in found.items()} == {"A": "1", "B": "2", "C": "3"}
        found["A"].text = "changed"
        session.commit()
        with tenant_scope("acme"):
            assert session.get_one(Note, "A", populate_existing=True).text == "changed"
