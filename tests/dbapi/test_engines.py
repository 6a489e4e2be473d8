"""An engine that is transparent seals and opens text(), as the ORM does; pandas reads and writes by it."""

import logging
from typing import Any

import pandas
import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk import ConfigurationError, Keyring, TenantRequired, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.dbapi import transparent, wrap
from sqlalchemy_cmk.format import is_header
from tests.dbapi.conftest import Clinic
from tests.support.databases import Database
from tests.support.vault import Vault

INSERT = text("INSERT INTO patients (id, clinic, ssn, email) VALUES (:id, :clinic, :ssn, :email)")
ROWS = [
    {"id": 1, "clinic": "acme", "ssn": "ssn 1", "email": "a@x"},
    {"id": 2, "clinic": "acme", "ssn": "ssn 2", "email": "b@x"},
    {"id": 3, "clinic": "globex", "ssn": "ssn 3", "email": None},
]
SELECT = "SELECT id, clinic, ssn, email FROM patients ORDER BY id"


@pytest.fixture
def engine(clinic: Clinic) -> Any:
    return transparent(clinic.vault.engine, clinic.vault.keyring)


def test_text_writes_and_reads_as_the_orm_does(clinic: Clinic, engine: Any) -> None:
    table = clinic.Patient.__table__
    with engine.begin() as connection:
        connection.execute(INSERT, ROWS[:2])
        connection.execute(INSERT, ROWS[2])
        changed = text("UPDATE patients SET ssn = :ssn WHERE id = :id")
        assert connection.execute(changed, {"ssn": "new", "id": 3}).rowcount == 1
        rows = connection.execute(text(SELECT)).mappings().all()
        assert [dict(row) for row in rows] == [*ROWS[:2], {**ROWS[2], "ssn": "new"}]
        found = connection.execute(
            text("SELECT id FROM patients WHERE email = :email AND clinic = :clinic"),
            {"email": "b@x", "clinic": "acme"},
        )
        assert found.scalars().all() == [2]
        core = select(table.c.ssn).where(table.c.clinic == "globex")
        assert connection.execute(core).scalars().all() == ["new"]
        assert connection.exec_driver_sql(SELECT).all()[0] == (1, "acme", "ssn 1", "a@x")
        with pytest.raises(TenantRequired):
            connection.execute(text("SELECT ssn FROM patients")).all()
        with pytest.raises(UnsupportedOperation):
            connection.execute(text("INSERT INTO patients (id, clinic, ssn) VALUES (9, 'acme', 'plain')"))
    stored = [row[0] for row in clinic.vault.raw("SELECT ssn FROM patients")]
    assert all(is_header(bytes(one)[:9]) for one in stored)


def test_the_engine_itself_stays_as_it_was(clinic: Clinic, engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT, ROWS)
    assert all(is_header(bytes(row[2])[:9]) for row in clinic.vault.raw(SELECT))


def test_pandas_reads_and_appends(clinic: Clinic, engine: Any) -> None:
    frame = pandas.DataFrame(ROWS[:2])
    with engine.begin() as connection:
        connection.execute(INSERT, ROWS[:2])
    with engine.connect() as connection:
        assert pandas.read_sql(text(SELECT), connection).to_dict("records") == frame.to_dict("records")
    more = frame.assign(id=frame["id"] + 10)
    more.to_sql("patients", engine, if_exists="append", index=False)
    both = [*frame.to_dict("records"), *more.to_dict("records")]
    with engine.connect() as connection:
        assert pandas.read_sql(text(SELECT), connection).to_dict("records") == both
    assert all(is_header(bytes(row[2])[:9]) for row in clinic.vault.raw(SELECT))


@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy")
def test_pandas_reads_by_a_wrapped_connection(clinic: Clinic, engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT, ROWS[:2])
    assert pandas.read_sql(SELECT, clinic.wrapped()).to_dict("records") == ROWS[:2]


def test_polars_reads(clinic: Clinic, engine: Any) -> None:
    polars = pytest.importorskip("polars")
    with engine.begin() as connection:
        connection.execute(INSERT, ROWS)
        assert polars.read_database(SELECT, connection).to_dicts() == ROWS
    batches = polars.read_database(text(SELECT), engine, iter_batches=True, batch_size=2)
    assert polars.concat(batches).to_dicts() == ROWS
    if clinic.vault.engine.name == "mariadb":
        return  # it cannot use connections of pymysql
    one = clinic.mark("SELECT ssn FROM patients WHERE clinic = ? AND email = ?")
    given = {"parameters": ("acme", "b@x")}
    found = polars.read_database(one, clinic.wrapped(), execute_options=given)
    assert found.to_dicts() == [{"ssn": "ssn 2"}]


def test_no_opened_row_is_logged(clinic: Clinic, caplog: pytest.LogCaptureFixture) -> None:
    keyring, url = clinic.vault.keyring, clinic.vault.engine.url
    engine = create_engine(url, echo="debug", logging_name="raw")
    keyring.init_engine(engine)
    with caplog.at_level(logging.DEBUG), transparent(engine, keyring).begin() as connection:
        connection.execute(INSERT, ROWS[0])
        assert connection.execute(text(SELECT)).all()[0][2] == "ssn 1"
    assert "ssn 1" not in caplog.text
    engine.dispose()


def test_a_connection_of_the_pool_is_wrapped(clinic: Clinic) -> None:
    connection = wrap(clinic.vault.engine.raw_connection(), clinic.vault.keyring, clinic.vault.base)
    cursor = connection.cursor()
    cursor.execute(clinic.mark("INSERT INTO notes (id, text) VALUES (1, ?)"), ("x",))
    cursor.execute("SELECT id, text FROM notes")
    assert list(cursor.fetchall()) == [(1, "x")]
    connection.close()


async def test_an_asynchronous_engine_is_transparent(async_database: Database, tmp_path: Any) -> None:
    vault = Vault(async_database.url, tmp_path)
    clinic = Clinic(vault)
    assert async_database.async_url is not None
    engine = create_async_engine(async_database.async_url)
    vault.keyring.init_engine(engine)
    both = transparent(engine, vault.keyring)
    async with both.begin() as connection:
        await connection.execute(INSERT, ROWS)
    vault.keyring.for_engine(engine).forget()
    async with both.begin() as connection:
        rows = (await connection.execute(text(SELECT))).mappings().all()
        assert [dict(row) for row in rows] == ROWS
        changed = text("UPDATE patients SET ssn = :ssn WHERE id = :id")
        await connection.execute(changed, {"ssn": "new", "id": 3})
        with tenant_scope("globex"):
            one = text("SELECT ssn FROM patients WHERE id = :id")
            assert (await connection.execute(one, {"id": 3})).scalars().all() == ["new"]
    await engine.dispose()
    clinic.close()
    vault.close()


def test_a_keyring_that_does_not_serve_the_engine_is_refused(clinic: Clinic, tmp_path: Any) -> None:
    other = Keyring(clinic.vault.engine, platform_key="local:pmk", providers=[clinic.vault.provider])
    with other, pytest.raises(ConfigurationError, match="protect"):
        transparent(clinic.vault.engine, other)
    with pytest.raises(ConfigurationError, match="serve"):
        transparent(create_engine("sqlite://"), clinic.vault.keyring)
