"""Everything works with AsyncSession, and no provider blocks the event loop."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import AsyncAdaptedQueuePool, Integer, LargeBinary, String, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    Keyring,
    KeyUnavailable,
    TamperedError,
    TenantRequired,
    tenant_scope,
)
from tests.support.databases import Database
from tests.support.providers import CountingProvider


def watched(folder: Path) -> CountingProvider:
    """A provider that refuses to be called in a thread that runs an event loop."""

    def refuse(kek_uri: str) -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    provider = CountingProvider(folder / "keys.json")
    provider.fault = refuse
    return provider


class AsyncWorld:
    def __init__(self, engine: AsyncEngine, provider: CountingProvider, keyring: Keyring, model: Any) -> None:
        self.engine = engine
        self.provider = provider
        self.keyring = keyring
        self.model = model

    def session(self) -> AsyncSession:
        return AsyncSession(self.engine, expire_on_commit=False)


@pytest.fixture
async def world(async_database: Database, tmp_path: Path) -> AsyncIterator[AsyncWorld]:
    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(Integer, primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))

    assert async_database.async_url is not None
    engine = create_async_engine(async_database.async_url)
    provider = watched(tmp_path)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
    keyring.protect(Base)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield AsyncWorld(engine, provider, keyring, Patient)
    keyring.close()
    await engine.dispose()


async def fill(world: AsyncWorld, *clinics: str) -> None:
    async with world.session() as session:
        session.add_all([world.model(clinic=one, ssn=f"ssn of {one}", email=f"{one}@x") for one in clinics])
        await session.commit()


async def test_objects_are_written_and_read(world: AsyncWorld) -> None:
    await fill(world, "acme", "globex")
    world.keyring.forget()
    async with world.session() as session:
        found = (await session.scalars(select(world.model).order_by(world.model.id))).all()
        assert [p.ssn for p in found] == ["ssn of acme", "ssn of globex"]
        found[0].clinic = "globex"
        await session.commit()
        await session.refresh(found[0])
        assert found[0].ssn == "ssn of acme"


async def test_bulk_statements_are_sealed_row_by_row(world: AsyncWorld) -> None:
    async with world.session() as session:
        await session.execute(insert(world.model), [{"clinic": c, "ssn": c} for c in ("acme", "globex")])
        await session.commit()
    world.keyring.forget()
    async with world.session() as session:
        rows = (await session.execute(select(world.model.clinic, world.model.ssn))).all()
    assert sorted(map(tuple, rows)) == [("acme", "acme"), ("globex", "globex")]


async def test_rows_of_a_core_select_open_after_the_await(world: AsyncWorld) -> None:
    await fill(world, "acme", "globex")
    world.keyring.forget()
    async with world.engine.connect() as connection:
        table = world.model.__table__
        result = await connection.execute(select(table.c.ssn, table.c.clinic))
        world.keyring.forget()
    assert sorted(result.scalars().all()) == ["ssn of acme", "ssn of globex"]


def out_of_reach(kek_uri: str) -> None:
    raise KeyUnavailable(f"{kek_uri} cannot be reached")


async def test_a_kek_out_of_reach_is_named_and_asked_once(world: AsyncWorld) -> None:
    await fill(world, "acme", "acme", "globex")
    table = world.model.__table__
    for query in (select(table.c.ssn, table.c.clinic), select(table.c.clinic, table.c.ssn, table.c.email)):
        world.keyring.forget()
        world.provider.calls.clear()
        world.provider.fault = out_of_reach
        async with world.engine.connect() as connection:
            with pytest.raises(KeyUnavailable):
                (await connection.execute(query)).all()
        assert world.provider.calls == ["unwrap"]
        world.provider.fault = lambda kek_uri: None


async def test_rows_are_streamed(world: AsyncWorld) -> None:
    await fill(world, *["acme", "globex"] * 20)
    world.keyring.forget()
    async with world.session() as session:
        stream = await session.stream_scalars(select(world.model).execution_options(yield_per=7))
        seen = [patient.ssn async for patient in stream]
    assert len(seen) == 40


async def test_the_only_connection_is_enough_for_cold_keys(world: AsyncWorld) -> None:
    await fill(world, *["acme", "globex"] * 5)
    # Without a class, SQLAlchemy below 2.0.38 has no pool for an SQLite file.
    engine = create_async_engine(
        world.engine.url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=30
    )
    ordered = select(world.model).order_by(world.model.id)
    async with AsyncSession(engine) as session:
        world.keyring.forget()
        async for patient in await session.stream_scalars(ordered.execution_options(yield_per=2)):
            assert patient.ssn == f"ssn of {patient.clinic}"
        world.keyring.forget()
        await session.refresh(patient)
        world.keyring.forget()
        patient.ssn = "new"
        savepoint = await session.begin_nested()
        patient.clinic = "acme"
        await session.flush()
        await savepoint.rollback()
        world.keyring.forget()
        await session.refresh(patient)
        assert (patient.clinic, patient.ssn) == ("globex", "new")
    async with engine.connect() as connection:
        world.keyring.forget()
        table = world.model.__table__
        rows = await connection.stream(select(table.c.clinic, table.c.ssn))
        assert {row.ssn async for row in rows} == {"ssn of acme", "ssn of globex"}
    await engine.dispose()


async def test_the_scope_follows_await(world: AsyncWorld) -> None:
    await fill(world, "acme", "globex")
    query = select(world.model).where(world.model.email == "acme@x")
    async with world.session() as session:
        with pytest.raises(TenantRequired):
            await session.scalars(query)
        with tenant_scope("acme"):
            assert (await session.scalars(query)).one().ssn == "ssn of acme"
        with tenant_scope("globex"):
            assert (await session.scalars(query)).all() == []


async def test_fifty_tasks_cause_one_provider_call(world: AsyncWorld) -> None:
    await fill(world, "acme")
    world.keyring.forget()
    world.provider.calls.clear()

    async def read() -> str:
        async with world.engine.connect() as connection:
            return (await connection.execute(select(world.model.ssn, world.model.clinic))).scalars().one()

    assert set(await asyncio.gather(*(read() for _ in range(50)))) == {"ssn of acme"}
    assert world.provider.calls == ["unwrap"]


async def test_another_tenants_value_is_named(world: AsyncWorld) -> None:
    await fill(world, "acme", "globex")
    async with world.engine.begin() as connection:
        stored = (await connection.exec_driver_sql("SELECT ssn FROM patients WHERE clinic = 'acme'")).scalar()
        parameter = "?" if world.engine.dialect.name == "sqlite" else "$1"
        await connection.exec_driver_sql(
            f"UPDATE patients SET ssn = {parameter} WHERE clinic = 'globex'", (stored,)
        )
    async with world.session() as session:
        with pytest.raises(TamperedError, match=r"patients\.ssn"):
            await session.scalars(select(world.model))


async def test_a_blocking_call_in_a_coroutine_is_refused_with_the_mend(world: AsyncWorld) -> None:
    with pytest.raises(ConfigurationError, match="to_thread"):
        world.keyring.warm(["acme"], new=True)
    await asyncio.to_thread(world.keyring.warm, ["acme"], new=True)
    assert [line.tenant for line in await asyncio.to_thread(world.keyring.status)] == ["acme"]


async def test_rows_that_are_not_sealed_yet_are_read(async_database: Database, tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Scan(Base):
        __tablename__ = "scans"
        id: Mapped[int] = mapped_column(primary_key=True)
        image: Mapped[bytes] = mapped_column(EncryptedType(LargeBinary, accept_plaintext=True))

    engine = create_async_engine(async_database.async_url or "")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[watched(tmp_path)])
    keyring.protect(Base)
    images = [b"\x89PNG", b"\x01begins like a sealed value" + bytes(40), b"\x02" + bytes(range(60))]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for number, image in enumerate(images):
            statement = text("INSERT INTO scans (id, image) VALUES (:id, :image)")
            await connection.execute(statement, {"id": number, "image": image})
    async with AsyncSession(engine) as session:
        session.add(Scan(id=9, image=b"sealed"))
        await session.commit()
        found = (await session.scalars(select(Scan).order_by(Scan.id))).all()
        # Another result in between: what the first has learnt is not lost to it.
        await session.execute(select(Scan.image).where(Scan.id == 9))
        assert [one.image for one in found] == [*images, b"sealed"]
    await engine.dispose()
    await asyncio.to_thread(keyring.close)


async def test_row_bound_columns_keep_to_their_rows(async_database: Database, tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        __cmk_row__ = ("public_id",)
        id: Mapped[int] = mapped_column(primary_key=True)
        public_id: Mapped[UUID] = mapped_column(default=uuid4)
        text: Mapped[str] = mapped_column(EncryptedType(String(40), row_bound=True))

    assert async_database.async_url is not None
    engine = create_async_engine(async_database.async_url)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[watched(tmp_path)])
    keyring.protect(Base)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        notes = [Note(text="one"), Note(text="two")]
        session.add_all(notes)
        await session.commit()
        assert notes[0].public_id != notes[1].public_id  # given to the objects, not loaded
        notes[0].public_id = uuid4()
        await session.commit()
        await session.execute(update(Note).where(Note.id == notes[1].id).values(text="changed"))
        await session.commit()
    async with AsyncSession(engine) as session:
        stream = await session.stream_scalars(select(Note).order_by(Note.id))
        assert [note.text async for note in stream] == ["one", "changed"]
        rows = await session.execute(select(Note.public_id, Note.text).order_by(Note.id))
        assert [row.text for row in rows] == ["one", "changed"]
        moved = "UPDATE notes SET text = (SELECT n.text FROM notes n WHERE n.id = 1)"
        await session.execute(text(moved))
        with pytest.raises(TamperedError):
            await session.scalars(select(Note))
    keyring.close()
    await engine.dispose()


async def test_the_applications_own_functions_do_not_hold_up_the_loop(
    async_database: Database, tmp_path: Path
) -> None:
    """They may ask a service: whose KEK may serve whom, and what the record key is."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(EncryptedType(String(40)))

    asked: list[str] = []

    def off_the_loop(what: str) -> None:
        asked.append(what)
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    def allowed(tenant: str, kek_uri: str) -> bool:
        off_the_loop("policy")
        return True

    def record_key() -> str:
        off_the_loop("record key")
        return b64encode(bytes(range(32))).decode()

    engine = create_async_engine(async_database.async_url or "")
    keyring = Keyring(
        engine,
        platform_key="local:pmk",
        providers=[watched(tmp_path)],
        kek_allowed=allowed,
        record_key=record_key,
    )
    keyring.protect(Base)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add(Note(text="one"))
        await session.commit()
        keyring.forget()
        assert (await session.scalars(select(Note.text))).all() == ["one"]
    assert set(asked) == {"policy", "record key"}
    await engine.dispose()
    await asyncio.to_thread(keyring.close)
