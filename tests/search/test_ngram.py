"""NGram against a plaintext twin: what a text contains, in any pattern, on every database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ForeignKey,
    Integer,
    String,
    bindparam,
    event,
    func,
    inspect,
    lambda_stmt,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, InvalidValue, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.columns.token_columns import token_indexes
from sqlalchemy_cmk.databases.grams import sqlite as sqlite_grams
from sqlalchemy_cmk.databases.quoting import verbatim
from sqlalchemy_cmk.search import NGram, Prefix, Suffix, fold
from sqlalchemy_cmk.search.patterns import pattern_of
from sqlalchemy_cmk.search.storage import create_statements, drop_statements
from tests.search.twin import EXAMPLES
from tests.support.vault import Vault

TEXTS = [
    "",
    "ab",
    "Harris",
    "HARRISON",
    "Phar%mac_y",
    "Ann-Marie",
    "straße",
    "STRASSE",
    "cafe\u0301 noir",
    "CAFÉ",
]
TEXTS += [
    "\u0131stanbul \u0130stanbul",
    "中文字符串",
    "a😀b😀c",
    "100% sure",
    "100 sure",
    "back\\slash",
    "aaaaaaaa",
    "harharris",
]
CHARACTERS = "aAbrRiIsSß%_\\ é\u0301\u0130\u0131中文😀1"
WORDS = st.sampled_from(TEXTS) | st.text(st.sampled_from(CHARACTERS), max_size=9)
NEEDLES = WORDS | st.builds(
    lambda word, at, size, more: word[at : at + size] + more,
    *(st.sampled_from(TEXTS), st.integers(0, 6), st.integers(2, 6), st.sampled_from(["", "%", "_", "%r"])),
)
ASKED: dict[str, tuple[Callable[..., Any], str, str, bool]] = {
    "contains": (lambda c, x: c.contains(x, autoescape=True), "%", "%", False),
    "icontains": (lambda c, x: c.icontains(x, autoescape=True), "%", "%", True),
    "startswith": (lambda c, x: c.startswith(x, autoescape=True), "", "%", False),
    "iendswith": (lambda c, x: c.iendswith(x, autoescape=True), "%", "", True),
}


def people(vault: Vault, index: Any, *, key: Any = None, **columns: Any) -> Any:
    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(key or Integer, primary_key=True)
        clinic: Mapped[str] = mapped_column(String(20), default="acme")
        name: Mapped[str | None] = mapped_column(EncryptedType(String(80), index=index))
        locals().update(columns)

    vault.create()
    return Person


def found(session: Any, Person: Any, criterion: Any) -> list[Any]:
    return [one.id for one in session.scalars(select(Person).where(criterion).order_by(Person.id))]


def write(session: Any, Person: Any, names: list[str | None]) -> dict[int, str | None]:
    session.query(Person).delete()
    session.add_all([Person(id=n, name=name) for n, name in enumerate(names, 1)])
    session.commit()
    return dict(enumerate(names, 1))


# SQLite alone has FTS5, which may be missing.
@pytest.mark.parametrize(
    ("database", "storage"),
    [(one, "as usual") for one in ("sqlite", "postgresql", "mariadb")] + [("sqlite", "without FTS5")],
    indirect=["database"],
)
@pytest.mark.parametrize("normalize", [fold, None], ids=["fold", "as it is"])
def test_texts_are_found_as_in_plain_text(
    vault: Vault, normalize: Any, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if storage == "without FTS5":
        monkeypatch.setattr(sqlite_grams, "has_fts5", lambda: False)
    Person = people(vault, [NGram(normalize=normalize)])
    examples = EXAMPLES[vault.engine.dialect.name]
    answered = [0]
    with vault.session() as session, tenant_scope("acme"):

        @settings(max_examples=max(3, examples // 10), deadline=None)
        @given(
            names=st.lists(st.none() | WORDS, max_size=12), needles=st.lists(NEEDLES, min_size=8, max_size=8)
        )
        def check(names: list[str | None], needles: list[str]) -> None:
            rows = write(session, Person, [*TEXTS, *names])
            for needle in needles:
                for ask, before, after, folds in ASKED.values():
                    escaped = needle.replace("/", "//").replace("%", "/%").replace("_", "/_")
                    _check(rows, ask(Person.name, needle), f"{before}{escaped}{after}", folds, "/")
                for folds, ask in ((False, Person.name.like), (True, Person.name.ilike)):
                    _check(rows, ask(needle), needle, folds, None)
                    _check(rows, ask(f"%{needle}%", escape="/"), f"%{needle}%", folds, "/")

        def _check(rows: Any, criterion: Any, pattern: str, folds: bool, escape: str | None) -> None:
            if folds and normalize is None:
                return
            try:
                ids = found(session, Person, criterion)
            except (UnsupportedOperation, InvalidValue):
                session.rollback()
                return
            answered[0] += 1
            norm = fold if folds else str
            plain = pattern_of(pattern, escape).normalized(fold if folds else None)
            assert ids == [n for n, name in rows.items() if name is not None and plain.matches(norm(name))]

        check()
    assert answered[0] > 20


def test_beginnings_and_ends_whose_case_counts_are_found_on_folded_indexes(vault: Vault) -> None:
    Person = people(vault, [Prefix(), Suffix()])
    answered = [0]
    with vault.session() as session, tenant_scope("acme"):

        @settings(max_examples=max(3, EXAMPLES[vault.engine.dialect.name] // 5), deadline=None)
        @given(texts=st.lists(WORDS, min_size=1, max_size=9), at=st.integers(2, 6))
        def check(texts: list[str], at: int) -> None:
            rows = write(session, Person, [*TEXTS, *texts])
            for one in (*TEXTS[8:12], *texts):
                for needle, ask, holds in (
                    (one[:at], Person.name.startswith, str.startswith),
                    (one[-at:], Person.name.endswith, str.endswith),
                ):
                    try:
                        ids = found(session, Person, ask(needle, autoescape=True))
                    except (UnsupportedOperation, InvalidValue):
                        continue
                    answered[0] += 1
                    assert ids == [n for n, name in rows.items() if name is not None and holds(name, needle)]

        check()
    assert answered[0] > 20


@pytest.fixture(params=["as usual", "without FTS5"])
def storage(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "without FTS5":
        monkeypatch.setattr(sqlite_grams, "has_fts5", lambda: False)
    return str(request.param)


def test_tokens_follow_their_rows(make_vault: Callable[..., Vault], storage: str) -> None:
    _follow(make_vault())


def test_tokens_follow_their_rows_on_each_database(vault: Vault) -> None:
    _follow(vault)


def _follow(vault: Vault) -> None:
    Person = people(vault, [NGram()])
    with vault.session() as session, tenant_scope("acme"):
        write(session, Person, ["Harris", "Morris", None, "ab"])
        asked = Person.name.icontains("RRI")
        assert found(session, Person, asked) == [1, 2]
        session.get_one(Person, 2).name = "Miller"
        session.get_one(Person, 3).name = "Ferris"
        session.flush()
        assert found(session, Person, asked) == [1, 3]
        session.rollback()
        assert found(session, Person, asked) == [1, 2]
        session.execute(update(Person).where(Person.id == 2).values(name=None))
        session.execute(update(Person).where(Person.id == 1).values(id=50))
        session.commit()
        assert found(session, Person, asked) == [50]
        session.execute(text("DELETE FROM people WHERE id = 50"))
        session.commit()
        assert found(session, Person, asked) == []
        session.add(Person(id=50, name="nobody"))
        session.commit()
        assert found(session, Person, asked) == []


def test_the_storage_holds_no_text_and_goes_with_its_table(
    make_vault: Callable[..., Vault], storage: str
) -> None:
    vault = make_vault()
    Person = people(vault, [NGram()])
    with vault.session() as session:
        session.add(Person(id=1, name="Harris"))
        session.commit()
    path = vault.engine.url.database or ""
    with open(path, "rb") as file:
        assert b"harris" not in file.read().lower()
    tables = inspect(vault.engine).get_table_names()
    assert any("people_name_ngram_grams" in one for one in tables)
    vault.base.metadata.drop_all(vault.engine, tables=[Person.__table__])
    assert not any("people" in one for one in inspect(vault.engine).get_table_names())
    vault.base.metadata.create_all(vault.engine)
    vault.base.metadata.create_all(vault.engine)


def test_a_table_that_has_lost_its_triggers_is_not_searched(
    make_vault: Callable[..., Vault], storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = make_vault()
    Person = people(vault, [NGram()])
    asked = select(Person).where(Person.name.icontains("rri"))
    with vault.session() as session, tenant_scope("acme"):
        write(session, Person, ["Harris"])
        assert len(session.scalars(asked).all()) == 1
        # What Alembic's batch mode does.
        session.execute(text("CREATE TABLE copied AS SELECT * FROM people"))
        session.execute(text("DROP TABLE people"))
        session.execute(text("ALTER TABLE copied RENAME TO people"))
        session.commit()
        with pytest.raises(UnsupportedOperation, match=r"people\.name_ngram: .*create_statements"):
            session.scalars(asked)
        (index,) = token_indexes(Person.__table__)["name"]
        for statement in (
            *drop_statements(vault.engine.dialect, index),
            *create_statements(vault.engine.dialect, index),
        ):
            session.execute(verbatim(statement))
        session.commit()
        assert len(session.scalars(asked).all()) == 1
        other = storage == "without FTS5"
        monkeypatch.setattr(sqlite_grams, "has_fts5", lambda: other)
        vault.engine.clear_compiled_cache()
        with pytest.raises(UnsupportedOperation, match="create_statements"):
            session.scalars(asked)


def test_attached_and_translated_schemas_have_their_own_storage(
    make_vault: Callable[..., Vault], tmp_path: Path
) -> None:
    vault = make_vault()
    event.listen(vault.engine, "connect", lambda c, _: c.execute(f"ATTACH '{tmp_path / 'aux'}' AS aux"))

    class Attached(vault.base):
        __tablename__ = "people"
        __table_args__ = {"schema": "aux"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(EncryptedType(String(20), index=[NGram()]))

    class Translated(vault.base):
        __tablename__ = "others"
        __table_args__ = {"schema": "theirs"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(EncryptedType(String(20), index=[NGram()]))

    engine = vault.engine.execution_options(schema_translate_map={"theirs": "aux"})
    vault.base.metadata.create_all(engine)
    with Session(engine) as session:
        for model in (Attached, Translated):
            session.add(model(id=1, name="Harris"))
            session.commit()
            assert session.scalars(select(model).where(model.name.icontains("rri"))).one().id == 1
    tables = [Attached.__table__, Translated.__table__]
    vault.base.metadata.drop_all(engine, tables=tables)
    assert vault.raw("SELECT name FROM aux.sqlite_master") == []


def test_storage_is_made_and_dropped_with_the_table(vault: Vault) -> None:
    Person = people(vault, [NGram()])
    vault.base.metadata.drop_all(vault.engine, tables=[Person.__table__])
    assert not any("people" in one for one in inspect(vault.engine).get_table_names())
    vault.create()
    vault.create()


def test_keys_of_any_kind_find_their_rows(vault: Vault) -> None:
    class Visit(vault.base):
        __tablename__ = 'visit\'s "table" %s: {x}'
        clinic: Mapped[str] = mapped_column("the clinic", String(20), primary_key=True)
        day: Mapped[str] = mapped_column("day%", String(20), primary_key=True)
        note: Mapped[str] = mapped_column("a note", EncryptedType(String(80), index=[NGram()]))

    class Named(vault.base):
        __tablename__ = "named"
        name: Mapped[str] = mapped_column(String(20), primary_key=True)
        note: Mapped[str] = mapped_column(EncryptedType(String(80), index=[NGram(4, name="quad")]))
        parent: Mapped[str | None] = mapped_column(ForeignKey("named.name"))

    vault.create()
    with vault.session() as session:
        session.add_all(
            [Visit(clinic=c, day=d, note=f"seen by {c} on {d}") for c in "ab" for d in ("mon", "tue")]
        )
        session.add_all([Named(name=n, note=f"note of {n}") for n in ("Ann", "Bob")])
        session.commit()
        statement = select(Visit).where(Visit.note.icontains("by a on tue"))
        assert [(one.clinic, one.day) for one in session.scalars(statement)] == [("a", "tue")]
        other = aliased(Named)
        both = select(other, Named).where(other.note.icontains("f bob"), Named.note.icontains("of ann"))
        both = both.where(other.name > Named.name)
        assert [(one.name, two.name) for one, two in session.execute(both)] == [("Bob", "Ann")]


def test_a_statement_can_be_shown(make_vault: Callable[..., Vault]) -> None:
    Person = people(make_vault(), [NGram()])
    assert "people.name_ngram" in str(select(Person).where(Person.name.icontains("harris")))


def test_values_by_name_and_of_lambdas_are_asked_for(vault: Vault) -> None:
    Person = people(vault, [NGram(), Prefix()])
    with vault.session() as session, tenant_scope("acme"):
        write(session, Person, ["Harris", "Morris", "harpsichord"])
        named = select(Person).where(Person.name.icontains(bindparam("part"))).order_by(Person.id)

        def by_lambda(part: str) -> Any:
            return lambda_stmt(lambda: select(Person).where(Person.name.icontains(part)).order_by(Person.id))

        for part, ids in (("HAR", [1, 3]), ("rris", [1, 2]), ("nobody", [])):
            assert [one.id for one in session.scalars(named, {"part": part})] == ids
            assert [one.id for one in session.scalars(by_lambda(part))] == ids
        assert session.scalars(named, {"part": None}).all() == []
        with pytest.raises(InvalidValue, match=r"people\.name: .*3 characters") as raised:
            session.scalars(named, {"part": "zq"}).all()
        assert "zq" not in str(raised.value)
        assert session.scalar(select(func.count()).where(Person.name.istartswith("har"))) == 2


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda c: c.icontains("ab"), "3 characters in a row and more"),
        (lambda c: c.ilike("%a%b%"), "3 characters in a row and more"),
        (lambda c: c.contains("abc"), "accent behind it: give one more, or ignore"),
        (lambda c: c.not_ilike("%abcd%"), "what is not a candidate"),
    ],
)
def test_what_is_not_answered_says_why_when_it_is_compiled(
    make_vault: Callable[..., Vault], ask: Any, says: str
) -> None:
    Person = people(make_vault(), [NGram()])
    with pytest.raises(UnsupportedOperation, match=says):
        select(Person).where(ask(Person.name)).compile()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 1}, "from 2 to 8"),
        ({"size": "3"}, "from 2 to 8"),
        ({"normalize": str.lower}, "normalize=fold"),
    ],
)
def test_options_out_of_bounds_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        NGram(**options)


def test_the_database_searches_by_its_index(vault: Vault) -> None:
    Person = people(vault, [NGram()])
    kind = vault.engine.dialect.name
    with vault.session() as session, tenant_scope("acme"):
        write(session, Person, [f"{n} Harris" for n in range(200)])
        sent: list[Any] = []

        @event.listens_for(vault.engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            sent.append((statement, parameters))

        connection = session.connection()
        if kind == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")
        assert found(session, Person, Person.name.icontains("7 Harr")) == [
            n + 1 for n in range(200) if n % 10 == 7
        ]
        statement, parameters = sent[-1]
        explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
        plan = "\n".join(map(str, connection.exec_driver_sql(f"{explain} {statement}", parameters)))
    says = {
        "sqlite": "VIRTUAL TABLE INDEX",
        "postgresql": "ix_people_name_ngram",
        "mariadb": "ref",
        "mysql": "ref",
    }
    assert says[kind] in plan, plan
    assert kind != "sqlite" or "SEARCH people USING INTEGER PRIMARY KEY" in plan
