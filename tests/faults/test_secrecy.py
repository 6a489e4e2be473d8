"""Nothing that is logged shows a value or a key, however loudly the engine was told to log."""

from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Date,
    Integer,
    LargeBinary,
    String,
    bindparam,
    create_engine,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, deferred, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring, tenant_scope
from sqlalchemy_cmk.format import Context
from tests.faults.watching import Everything, found, keys_of
from tests.support.databases import Database
from tests.support.providers import CountingProvider
from tests.support.vault import Vault

SSN, EMAIL, NOTE = "PLANTED-SSN-078051120", "planted-email@example.org", "PLANTED-NOTE-é"
BORN, NUMBER, SCAN = date(1912, 6, 23), 78051120991, b"PLANTED-SCAN\0\xff\xfe"
VALUES: dict[str, Any] = {
    "ssn": SSN,
    "email": EMAIL,
    "note": NOTE,
    "born": BORN,
    "number": NUMBER,
    "scan": SCAN,
    "history": {"visit": "PLANTED-HISTORY"},
}
SECRETS: dict[str, str | bytes] = {
    "ssn": SSN,
    "email": EMAIL,
    "note": NOTE,
    "date": BORN.isoformat(),
    "date's repr": repr(BORN),
    "number": str(NUMBER),
    "scan": SCAN,
    "history": "PLANTED-HISTORY",
}
PUBLIC = "not-a-secret-7"


def declared(base: Any) -> Any:
    class Patient(base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        room: Mapped[str | None] = mapped_column(String(40))
        code: Mapped[int | None] = mapped_column(Integer, unique=True)
        ssn: Mapped[Any] = mapped_column(EncryptedType(String(60)))
        email: Mapped[Any] = mapped_column(EncryptedType(String(60), deterministic=True))
        note: Mapped[Any] = deferred(mapped_column(EncryptedType(String(60))))
        born: Mapped[Any] = mapped_column(EncryptedType(Date))
        number: Mapped[Any] = mapped_column(EncryptedType(Integer))
        scan: Mapped[Any] = mapped_column(EncryptedType(LargeBinary))
        history: Mapped[Any] = mapped_column(EncryptedType(JSON))

    return Patient


def row(**more: Any) -> dict[str, Any]:
    return {"clinic": "acme", "room": PUBLIC, **VALUES, **more}


def upsert(session: Session, patient: Any) -> Any:
    name = session.get_bind().dialect.name
    if name in ("mysql", "mariadb"):
        return mysql.insert(patient).values(row(code=1)).on_duplicate_key_update(ssn=SSN, email=EMAIL)
    kind: Any = {"sqlite": sqlite, "postgresql": postgresql}[name]
    statement = kind.insert(patient).values(row(code=1))
    return statement.on_conflict_do_update(index_elements=["code"], set_={"ssn": SSN, "email": EMAIL})


Step = Callable[[Session, Any], object]
WRITES: dict[str, Step] = {
    "add": lambda session, patient: (session.add(patient(**row(code=1))), session.flush()),
    "add_all": lambda session, patient: (
        session.add_all([patient(**row()) for _ in range(3)]),
        session.flush(),
    ),
    "bulk insert": lambda session, patient: session.execute(insert(patient), [row(), row()]),
    "insert of values": lambda session, patient: session.execute(insert(patient).values(row())),
    "insert of lists": lambda session, patient: session.execute(insert(patient).values([row(), row()])),
    "insert of mappings": lambda session, patient: session.bulk_insert_mappings(patient, [row(), row()]),
    "insert by Core": lambda session, patient: session.connection().execute(
        patient.__table__.insert(), [row()]
    ),
    "upsert": lambda session, patient: session.execute(upsert(session, patient)),
    "change": lambda session, patient: (
        setattr(session.scalars(select(patient)).first(), "ssn", SSN + "!"),
        session.flush(),
    ),
    "merge": lambda session, patient: (session.merge(patient(id=1, **row())), session.flush()),
    "update by key": lambda session, patient: session.execute(
        update(patient), [{"id": 1, "ssn": SSN}, {"id": 2, "ssn": SSN}]
    ),
    "update by criteria": lambda session, patient: session.execute(
        update(patient).where(patient.email == EMAIL).values(ssn=SSN)
    ),
    "update by named criteria": lambda session, patient: session.connection().execute(
        update(patient.__table__)
        .where(patient.__table__.c.email == bindparam("e"))
        .values(room=bindparam("r")),
        [{"e": EMAIL, "r": PUBLIC}],
    ),
    "delete by criteria": lambda session, patient: session.execute(
        delete(patient).where(patient.email == bindparam("e"), patient.id > 100), {"e": EMAIL}
    ),
}


def typed_text(patient: Any) -> Any:
    columns = patient.__table__.c
    return text("SELECT room, ssn, born FROM patients").columns(columns.room, columns.ssn, columns.born)


def columns(patient: Any) -> Any:
    return select(patient.id, patient.room, patient.ssn, patient.born, patient.number)


READS: dict[str, Step] = {
    "entities": lambda session, patient: [(one.ssn, one.note) for one in session.scalars(select(patient))],
    "get": lambda session, patient: session.get(patient, 1, populate_existing=True),
    "refresh": lambda session, patient: session.refresh(session.get(patient, 1), ["ssn", "history"]),
    "rows": lambda session, patient: session.execute(columns(patient)).all(),
    "first row": lambda session, patient: session.execute(columns(patient)).first(),
    "row by row": lambda session, patient: [row for row in session.execute(columns(patient))],
    "many rows": lambda session, patient: session.execute(columns(patient)).fetchmany(3),
    "partitions": lambda session, patient: list(session.execute(columns(patient)).partitions(2)),
    "mappings": lambda session, patient: session.execute(columns(patient)).mappings().all(),
    "unique": lambda session, patient: session.execute(columns(patient)).unique().all(),
    "some columns": lambda session, patient: session.execute(columns(patient)).columns("ssn", "id").all(),
    "one column": lambda session, patient: session.execute(columns(patient)).columns("born").all(),
    "scalars": lambda session, patient: session.execute(columns(patient)).scalars("ssn").all(),
    "scalar": lambda session, patient: session.scalar(select(patient.scan).limit(1)),
    "frozen": lambda session, patient: session.execute(columns(patient)).freeze()().all(),
    "stream": lambda session, patient: session.execute(columns(patient).execution_options(yield_per=2)).all(),
    "Core rows": lambda session, patient: session.connection().execute(select(patient.__table__)).all(),
    "typed text": lambda session, patient: session.execute(typed_text(patient)).all(),
    "equality": lambda session, patient: session.scalars(select(patient).where(patient.email == EMAIL)).all(),
    "membership": lambda session, patient: session.scalars(
        select(patient).where(patient.email.in_([EMAIL, "x"]))
    ).all(),
    "named parameter": lambda session, patient: session.execute(
        columns(patient).where(patient.email == bindparam("e")), {"e": EMAIL}
    ).all(),
    "group": lambda session, patient: session.execute(select(patient.email).group_by(patient.email)).all(),
    "subquery": lambda session, patient: session.execute(select(columns(patient).subquery())).all(),
}
RETURNING: dict[str, Step] = {
    "insert returning": lambda session, patient: session.execute(
        insert(patient).returning(patient.ssn, patient.born), [row(), row()]
    ).all(),
    "update returning": lambda session, patient: session.execute(
        update(patient).where(patient.id == 1).values(ssn=SSN).returning(patient.email)
    ).all(),
}
ENGINES: dict[str, dict[str, Any]] = {
    "an engine": {},
    "a named engine": {"logging_name": "application"},
    "a named engine and pool": {"logging_name": "application", "pool_logging_name": "connections"},
    "an engine with a token": {"execution_options": {"logging_token": "request 7"}},
}


class Loud:
    """A vault whose engine logs all that SQLAlchemy can log, and the way to what must not be in it."""

    def __init__(self, vault: Vault, folder: Path, log: Everything, options: dict[str, Any]) -> None:
        self.vault = vault
        self.log = log
        self.provider = CountingProvider(folder / "keys.json")
        vault.provider = self.provider
        vault.engine.dispose()
        vault.engine = create_engine(vault.engine.url, echo="debug", **options)
        vault.restart()
        self.Patient = declared(vault.base)
        vault.create()

    def secrets(self) -> dict[str, str | bytes]:
        contexts = [Context.of_column(None, "patients", name) for name in VALUES]
        keys = enumerate(keys_of(self.provider, contexts))
        return {**SECRETS, **{f"key {number}": key for number, key in keys}}

    def leaks(self, steps: dict[str, Step]) -> dict[str, list[str]]:
        """Run steps, and return which secrets the log shows after each."""
        leaks: dict[str, list[str]] = {}
        for name, step in steps.items():
            self.vault.keyring.forget()
            with self.vault.session() as session, tenant_scope("acme"):
                step(session, self.Patient)
                session.commit()
            shown = self.log.taken()
            assert "patients" in shown, f"{name}: nothing was logged"
            if secrets := found(self.secrets(), shown):
                leaks[name] = secrets
        return leaks


@pytest.fixture(params=ENGINES)
def loud(request: pytest.FixtureRequest, vault: Vault, tmp_path: Path, log: Everything) -> Loud:
    return Loud(vault, tmp_path, log, ENGINES[request.param])


def test_no_statement_logs_a_value_or_a_key(loud: Loud) -> None:
    loud.vault.keyring.warm(["acme"], ["randomized", "deterministic"], new=True)
    returns = loud.vault.engine.dialect.insert_returning and loud.vault.engine.dialect.update_returning
    assert loud.leaks({**WRITES, **READS, **(RETURNING if returns else {})}) == {}


def test_the_log_is_complete_enough_to_show_a_leak(loud: Loud) -> None:
    with loud.vault.session() as session:
        session.add(loud.Patient(**row()))
        session.commit()
        loud.log.taken()
        assert session.execute(select(loud.Patient.room)).one() == (PUBLIC,)
    shown = loud.log.taken()
    assert f"Row ('{PUBLIC}',)" in shown
    assert found({"public": PUBLIC}, shown) == ["public"]


def test_no_key_is_logged_when_keys_are_made_rewrapped_and_opened(loud: Loud) -> None:
    loud.vault.keyring.warm(["acme", "globex", ""], ["randomized", "deterministic"], new=True)
    loud.vault.keyring.assign("acme", "local:acme")
    loud.vault.restart()
    loud.vault.keyring.warm(["acme", "globex"], new=True)
    shown = loud.log.taken()
    assert "INSERT INTO cmk_wrappings" in shown
    assert found(loud.secrets(), shown) == []


@pytest.fixture(params=["an engine", "a named engine"])
async def loud_async(
    request: pytest.FixtureRequest, async_database: Database, tmp_path: Path, log: Everything
) -> AsyncIterator[tuple[AsyncSession, Any]]:
    base: Any = type("Base", (DeclarativeBase,), {})
    assert async_database.async_url is not None
    engine = create_async_engine(async_database.async_url, echo="debug", **ENGINES[request.param])
    keyring = Keyring(engine, platform_key="local:pmk", providers=[CountingProvider(tmp_path / "keys.json")])
    keyring.protect(base)
    patient = declared(base)
    async with engine.begin() as connection:
        await connection.run_sync(base.metadata.create_all)
    async with AsyncSession(engine) as session:
        yield session, patient
    keyring.close()
    await engine.dispose()


async def test_no_statement_of_an_async_engine_logs_a_value(
    loud_async: tuple[AsyncSession, Any], log: Everything
) -> None:
    session, patient = loud_async
    with tenant_scope("acme"):
        session.add_all([patient(**row()) for _ in range(2)])
        await session.commit()
        await session.execute(insert(patient), [row(), row()])
        assert (await session.execute(columns(patient))).all()
        assert (await session.scalars(select(patient).where(patient.email == EMAIL))).all()
        stream = await session.stream(columns(patient))
        assert [one async for one in stream]
        await session.commit()
    shown = log.taken()
    assert "INSERT INTO patients" in shown and PUBLIC in shown
    assert found(SECRETS, shown) == []
