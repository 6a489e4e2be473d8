"""A dry run: nothing is sealed, all works as on plain columns, and what sealing would refuse is noted."""

import enum
import inspect
import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    create_engine,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy import inspect as look_at
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, Session, column_property, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, Keyring, tenant_scope
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.hooks.places import declare, sealed
from tests.hooks.refused import REFUSED
from tests.support.databases import Database
from tests.support.vault import Vault

pytestmark = pytest.mark.filterwarnings(
    "ignore:DISTINCT ON:sqlalchemy.exc.SADeprecationWarning", "ignore:.*cartesian:sqlalchemy.exc.SAWarning"
)


@pytest.fixture
def dry(make_vault: Any) -> Vault:
    return make_vault(dry_run=True)


@pytest.fixture
def patients(dry: Vault) -> Any:
    class Patient(dry.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str]
        first: Mapped[str] = mapped_column(EncryptedType(String(40)))
        last: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))
        born: Mapped[date | None] = mapped_column(EncryptedType(Date))
        history: Mapped[dict[str, Any] | None] = mapped_column(EncryptedType(JSON))
        tags: Mapped[list[int] | None] = mapped_column(EncryptedType(list[int]))
        full = column_property(first + " " + last, deferred=True)

    dry.create()
    with dry.session() as session:
        session.add_all(
            [
                Patient(clinic="acme", first="Ann", last="Lee", born=date(1990, 1, 2), history={"a": 1}),
                Patient(clinic="acme", first="Bob", last="May", born=date(1980, 1, 2), tags=[1, 2]),
            ]
        )
        session.commit()
    return Patient


class Color(enum.Enum):
    RED = "r"


VALUES: dict[str, tuple[Any, Any]] = {
    "color": (Enum(Color), Color.RED),
    "price": (Numeric(10, 2), Decimal("1.50")),
    "at": (DateTime(timezone=True), datetime(2026, 1, 2, tzinfo=UTC)),
    "key": (Uuid(), UUID(int=7)),
    "raw": (LargeBinary(), b"\x00\x01"),
    "doc": (JSON(), {"a": [1, None]}),
    "flag": (Boolean(), True),
    "long": (BigInteger(), 2**40),
}


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_each_type_is_kept_as_the_database_keeps_it(database: Database, tmp_path: Path) -> None:
    vault = Vault(database.url, tmp_path, dry_run=True)
    sealed_ones = [Column(name, EncryptedType(type_)) for name, (type_, _) in VALUES.items()]
    table = Table("things", vault.base.metadata, Column("id", Integer, primary_key=True), *sealed_ones)
    vault.create()
    held = {name: value for name, (_, value) in VALUES.items()}
    if database.url.startswith("mysql") or database.url.startswith("mariadb"):
        held["at"] = held["at"].replace(tzinfo=None)
    with vault.engine.begin() as connection:
        connection.execute(insert(table), [{"id": 1, **held}])
        connection.execute(update(table).where(table.c.id == 1).values(long=2**41))
        found = connection.execute(select(table).where(table.c.price > 1)).mappings().one()
        assert dict(found) == {"id": 1, **held, "long": 2**41}
    assert any("Range(" in (one.index or "") for one in vault.keyring.refusals)
    vault.close()


def noted(vault: Vault) -> list[str]:
    return [one.message for one in vault.keyring.refusals]


def line(offset: int = 0) -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno + offset


@pytest.mark.parametrize("part", range(4))
def test_all_that_sealed_columns_refuse_is_noted_and_sent(dry: Vault, part: int) -> None:
    people = declare(dry)
    for what in list(REFUSED)[part::4]:
        before = len(dry.keyring.refusals)
        with dry.session() as session, tenant_scope("acme"):
            here = line(+3)
            try:
                statement = REFUSED[what](people, people.account)
                session.execute(statement)
            except DBAPIError:
                pass  # it was sent, and SQLite has no such thing
            except Exception as error:
                name = type(error).__name__
                others = (
                    "CompileError",
                    "UnsupportedCompilationError",
                    "ArgumentError",
                    "ConfigurationError",
                )
                assert name in others, (what, error)
                continue
        found = [one for one in dry.keyring.refusals if one.place and one.place.line == here]
        assert len(dry.keyring.refusals) > before or found, what
        assert all(one.place is None or one.place.file == __file__ for one in found), what


def test_values_are_stored_as_their_plain_type_without_key_tables(dry: Vault, patients: Any) -> None:
    assert look_at(dry.engine).get_table_names() == ["patients"]
    row = dry.raw("SELECT first, last, born, history FROM patients WHERE id = 1")[0]
    assert row == ("Ann", "Lee", "1990-01-02", '{"a": 1}')
    with dry.session() as session:
        one, two = session.scalars(select(patients).order_by(patients.id)).all()
        assert (one.born, one.history, one.full, two.tags) == (date(1990, 1, 2), {"a": 1}, "Ann Lee", [1, 2])
        one.first = "Anna"
        session.commit()
        assert one.first == "Anna"


def test_what_would_be_refused_works_as_on_a_plain_column(dry: Vault, patients: Any) -> None:
    p = patients
    answers = [
        (select(p.first).where(p.first.like("A%")), ["Ann"]),
        (select(p.born).order_by(p.born), [date(1980, 1, 2), date(1990, 1, 2)]),
        (select(func.max(p.born)), [date(1990, 1, 2)]),
        (select(p.id).where(func.lower(p.last) == "may"), [2]),
        (select(p.history["a"].as_integer()).where(p.id == 1), [1]),
        (select(p.id).where(p.first + p.last == "BobMay"), [2]),
        (select(p.id).where("x" + p.first == "xBob"), [2]),
        (select(p.id).where(p.born.between(date(1985, 1, 1), date(1995, 1, 1))), [1]),
    ]
    with dry.session() as session:
        for statement, answer in answers:
            before = len(dry.keyring.refusals)
            assert session.scalars(statement).all() == answer, statement
            assert len(dry.keyring.refusals) > before, statement


def texts(p: Any) -> dict[str, Any]:
    """SQL text, and what of it is noted."""
    read = "SELECT id, clinic, first FROM patients"
    return {
        "first": text(f"{read} WHERE id = :id").bindparams(id=1),
        "last": select(p.id).where(text("last LIKE 'M%'")),
        "history": select(p.id).where(literal_column("json_extract(history, '$.a')") == 1),
        "born": text(f"{read} WHERE born > '1970'").columns(p.id, p.clinic, p.first),
        "": text(read).columns(p.id, p.clinic, p.first),
        " ": text("SELECT count(*) FROM patients"),
    }


@pytest.mark.parametrize("what", ["first", "last", "history", "born", "", " "])
def test_sql_text_that_names_a_column_is_noted_and_sent(dry: Vault, patients: Any, what: str) -> None:
    with dry.session() as session:
        found = session.execute(texts(patients)[what]).all()
    assert found
    assert [one.message.partition(":")[0] for one in dry.keyring.refusals] == [
        f"SQL text names patients.{name}" for name in what.split()
    ]


def test_sql_that_goes_straight_to_the_driver_is_noted_with_its_line(dry: Vault, patients: Any) -> None:
    with dry.engine.begin() as connection:
        here = line(+1)
        connection.exec_driver_sql("UPDATE patients SET first = ? WHERE id = ?", ("Cy", 1))
    (noted,) = dry.keyring.refusals
    assert noted.place is not None and noted.place.line == here and "patients.first" in noted.message


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda p: p.first == "x", "deterministic=True"),
        (lambda p: p.first.like("x%"), "Prefix()"),
        (lambda p: p.first.like("%x"), "Suffix()"),
        (lambda p: p.first.ilike("%x%"), "NGram(3)"),
        (lambda p: p.first.startswith("x"), "Prefix()"),
        (lambda p: func.lower(p.last) == "x", "Exact(normalize=fold)"),
        (lambda p: p.born > date(2000, 1, 1), "Range("),
        (lambda p: select(func.max(p.born)).scalar_subquery() == p.born, "Ordered("),
    ],
)
def test_a_refusal_names_the_index_that_would_answer_it(
    dry: Vault, patients: Any, ask: Any, index: str
) -> None:
    with dry.session() as session:
        session.execute(select(patients.id).where(ask(patients)))
    assert any(one.index and index in one.index for one in dry.keyring.refusals)


def test_what_a_row_or_its_reader_leaves_unsaid_is_noted(dry: Vault, patients: Any) -> None:
    with dry.session() as session:
        session.execute(insert(patients).values(first="Cy", last="Li"), {"clinic": "acme"})
        assert noted(dry) == []
        assert session.scalars(select(patients.first)).all()[-1] == "Cy"
        session.execute(update(patients).where(patients.id == 1).values(first=func.upper("x")))
        assert (
            session.scalar(select(patients.first).where(patients.clinic == "acme", patients.id == 1)) == "X"
        )
        session.scalars(select(patients.id).where(patients.last == "Li"))
    found = "\n".join(noted(dry))
    assert "whose value it is cannot be seen" in found and "SQL expression would write a plaintext" in found
    assert "no tenant is known for this statement" in found


def test_the_same_statement_is_noted_once_for_each_place(dry: Vault, patients: Any) -> None:
    with dry.session() as session:
        for _ in range(3):
            session.execute(select(patients.id).order_by(patients.first))
        session.execute(select(patients.id).order_by(patients.first))
    places = [one.place for one in dry.keyring.refusals]
    assert len(places) == len(set(places)) == 2


async def test_the_place_is_found_through_the_bridge_of_asyncio(dry: Vault, patients: Any) -> None:
    engine = create_async_engine(str(dry.engine.url).replace("sqlite:", "sqlite+aiosqlite:"))
    async with AsyncSession(engine) as session:
        here = line(+1)
        await session.execute(select(patients.id).order_by(patients.first))
    await engine.dispose()
    assert [(one.place.file, one.place.line) for one in dry.keyring.refusals if one.place] == [
        (__file__, here)
    ]


def test_what_is_declared_wrongly_is_noted_and_stays_in_use(make_vault: Any) -> None:
    vault = make_vault(dry_run=True)

    class Person(vault.base):
        __tablename__ = "people"
        __table_args__ = (UniqueConstraint("email"),)
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = sealed()
        city: Mapped[str] = mapped_column(EncryptedType(String(40)), server_default="Bern")

    vault.keyring.protect(vault.base)
    vault.create()
    with vault.session() as session:
        session.add(Person(email="x"))
        session.commit()
        assert session.scalars(select(Person.city)).all() == ["Bern"]
    found = "\n".join(noted(vault))
    assert (
        "stops no duplicate" in found
        and "server_default" not in found
        and "give the column a Python" in found
    )


def test_a_database_with_sealed_values_is_refused(make_vault: Any, tmp_path: Any) -> None:
    vault = make_vault()
    declare(vault)
    before = vault.raw("SELECT secret FROM people")
    vault.keyring.close()

    other = Vault(str(vault.engine.url), tmp_path, dry_run=True)

    class Person(other.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        secret: Mapped[str] = sealed()

    with other.session() as session:
        for statement in (select(Person), insert(Person).values(id=9, secret="x")):
            with pytest.raises(ConfigurationError, match="a dry run would read and write plain values"):
                session.execute(statement)
    assert vault.raw("SELECT secret FROM people") == before
    other.close()


def test_a_database_whose_columns_a_migration_has_sealed_is_refused(dry: Vault) -> None:
    class Person(dry.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        secret: Mapped[str] = sealed()

    dry.create()
    with dry.engine.begin() as connection:
        connection.execute(text("CREATE TABLE cmk_columns (schema_name, table_name, column_name, scheme)"))
        connection.execute(text("INSERT INTO cmk_columns VALUES ('', 'people', 'secret', '{}')"))
    with dry.session() as session, pytest.raises(ConfigurationError, match="sealed columns of people"):
        session.execute(select(Person))


def test_no_key_is_made_asked_or_opened(dry: Vault, patients: Any) -> None:
    dry.keyring.warm(["acme"], new=True)
    dry.keyring.assign("acme", "local:acme")
    with pytest.raises(ConfigurationError, match="a dry run has no keys"):
        dry.keyring.active("acme", Purpose.RANDOMIZED)
    assert look_at(dry.engine).get_table_names() == ["patients"]


def test_one_metadata_is_not_sealed_after_a_dry_run_nor_the_reverse(make_vault: Any) -> None:
    for dry_run in (True, False):
        vault = make_vault(dry_run=dry_run)
        vault.keyring.close()
        vault.options["dry_run"] = not dry_run
        with pytest.raises(ConfigurationError, match="with dry_run and without"):
            vault.new_keyring()


def test_it_says_once_and_loudly_that_nothing_is_sealed(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from sqlalchemy.orm import DeclarativeBase

    class Base(DeclarativeBase):
        pass

    engine = create_engine("sqlite://")
    keyring = Keyring(
        engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "k")], dry_run=True
    )
    with caplog.at_level(logging.WARNING):
        keyring.protect(Base)
        keyring.protect(Base)
        with Session(engine):
            pass
    assert [one.message.partition(":")[0] for one in caplog.records] == ["DRY RUN"]
    keyring.close()
