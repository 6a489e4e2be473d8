"""What `protect` does to a metadata, and what is said where it is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, String, create_engine, event, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateSchema

from sqlalchemy_cmk import ConfigurationError, EncryptedType, Keyring, tenant_scope
from sqlalchemy_cmk.keys.binding.protection import INFO_KEY
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.databases import Database
from tests.support.world import World


def make_model() -> Any:
    """A declarative base of its own with one model."""

    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))

    return Patient


@pytest.mark.parametrize("protected", ["the base", "its metadata"])
def test_a_base_or_its_metadata_is_protected(database: Database, tmp_path: Path, protected: str) -> None:
    model, engine = make_model(), create_engine(database.url)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(model if protected == "the base" else model.metadata)
    keyring.protect(model.metadata)
    model.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(model(clinic="acme", ssn="078-05-1120"))
        session.commit()
        keyring.forget()
        assert session.scalars(select(model)).one().ssn == "078-05-1120"
    keyring.close()
    engine.dispose()


def test_tables_in_a_schema_are_served_from_key_tables_outside_of_it(
    database: Database, tmp_path: Path
) -> None:
    if database.name == "postgresql":
        schema = "clinics"
        engine = create_engine(database.url)
        with engine.begin() as connection:
            connection.execute(CreateSchema(schema))
    else:  # SQLite's main database; in MariaDB a schema is a database, and this test has one of its own
        engine = create_engine(database.url)
        schema = "main" if database.name == "sqlite" else str(engine.url.database)

    class Base(DeclarativeBase):
        metadata = MetaData(schema=schema)

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True))

    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(Base)
    keyring.protect(Base)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Patient(clinic="acme", ssn="078-05-1120"))
        session.commit()
        keyring.forget()
        with tenant_scope("acme"):
            assert session.scalars(select(Patient).where(Patient.ssn == "078-05-1120")).one()
    keyring.close()
    engine.dispose()


def test_the_key_tables_take_the_prefix(make_lite: Callable[..., World]) -> None:
    world = make_lite(table_prefix="keys_of_app_")
    added = {name for name in world.metadata.tables if name not in ("notes", "codes")}
    assert {"keys_of_app_tenants", "keys_of_app_deks", "keys_of_app_wrappings"} <= added
    assert all(name.startswith("keys_of_app_") for name in added)
    world.write("acme", "one")
    assert world.raw("SELECT count(*) FROM keys_of_app_deks") == [(1,)]


def test_the_key_tables_hold_no_key(world: World) -> None:
    world.write("acme", "one")
    seen: list[Secret] = []
    original = world.provider.unwrap
    world.keyring.forget()
    world.provider.unwrap = lambda wrapped: seen.append(original(wrapped)) or seen[-1]
    assert world.read() == ["one"] and len(seen) == 1
    dek = seen[0].reveal()
    for table in inspect(world.engine).get_table_names():
        for row in world.raw(f"SELECT * FROM {table}"):
            for value in row:
                stored = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                assert dek not in stored and dek.hex().encode() not in stored


USES: list[Callable[[Session, Any], Any]] = [
    lambda session, model: (session.add(model(clinic="acme", ssn="078-05-1120")), session.flush()),
    lambda session, model: session.execute(model.__table__.insert(), [{"clinic": "acme", "ssn": "x"}]),
    lambda session, model: session.execute(select(model).where(model.ssn == "x")),
]


@pytest.mark.parametrize("use", USES, ids=["add", "insert", "compare"])
def test_a_column_used_before_protect_is_named(
    sqlite_database: Database, use: Callable[[Session, Any], Any]
) -> None:
    model, engine = make_model(), create_engine(sqlite_database.url)
    model.metadata.create_all(engine)
    named = pytest.raises(ConfigurationError, match=r"patients\.ssn.*call keyring\.protect\(Base\) first")
    with Session(engine) as session, tenant_scope("acme"), named:
        use(session, model)
    engine.dispose()


def test_a_row_read_before_protect_is_named(lite: World) -> None:
    lite.write("acme", "one")
    del lite.metadata.info[INFO_KEY]
    with pytest.raises(ConfigurationError, match=r"notes\.text.*call keyring\.protect\(Base\) first"):
        lite.read()


@pytest.mark.parametrize("drop", [False, True], ids=["never made", "dropped"])
def test_key_tables_that_are_missing_are_named_with_the_mend(world: World, drop: bool) -> None:
    world.restart()
    key_tables = [table for name, table in world.metadata.tables.items() if name.startswith("cmk_")]
    if drop:
        world.keyring.warm(["before"], new=True)
        world.restart()
    world.metadata.drop_all(world.engine, key_tables)
    for use in (
        lambda: world.write("acme", "one"),
        lambda: world.keyring.warm(["acme"], new=True),
        lambda: world.keyring.assign("acme", "local:acme"),
        world.keyring.status,
    ):
        with pytest.raises(ConfigurationError, match=r"cmk_tenants.*create_all\(engine\).*Alembic"):
            use()
    assert world.raw("SELECT count(*) FROM notes") == [(0,)]
    world.create()
    world.write("acme", "one")
    assert world.read() == ["one"]


def test_alembic_finds_nothing_to_do_after_create_all(world: World) -> None:
    with world.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), world.metadata) == []


def test_alembic_finds_the_key_tables_before_create_all(database: Database, tmp_path: Path) -> None:
    world = World(database.url, tmp_path)
    with world.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), world.metadata)
    diffs = [one for one in found if isinstance(one, tuple)]
    assert ("create_key_tables", "cmk_") in diffs
    assert {one[1].name for one in diffs if one[0] == "add_table"} == {"codes", "notes"}
    world.close()


def test_the_database_itself_refuses_a_second_active_dek(world: World) -> None:
    world.write("acme", "one")
    deks = world.metadata.tables["cmk_deks"]
    with world.engine.begin() as connection, pytest.raises(IntegrityError):
        first = connection.execute(deks.select()).one()
        connection.execute(deks.insert(), {**first._mapping, "id": b"12345678"})


def test_settings_of_the_applications_driver_serve_the_keyring_too(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    engine = create_engine(sqlite_database.url, connect_args={"timeout": 1.5})
    connected: list[Any] = []
    event.listen(engine, "connect", lambda connection, _: connected.append(connection))
    world = make_lite(engine=engine)
    made = len(connected)
    world.keyring.warm(["acme"], new=True)
    assert len(connected) == made + 1
    assert connected[-1].execute("PRAGMA busy_timeout").fetchone() == (1500,)
