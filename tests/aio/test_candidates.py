"""Candidates are dropped by asynchronous drivers too: in pages that are read again, and in streams."""

from pathlib import Path
from typing import Any

from sqlalchemy import String, event, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring, tenant_scope
from sqlalchemy_cmk.search import Exact, NGram
from tests.aio.test_async import watched
from tests.support.databases import Database


async def test_pages_and_streams_give_what_was_asked_for(async_database: Database, tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        town: Mapped[str] = mapped_column(EncryptedType(String(40), index=[Exact(bits=1)]))
        note: Mapped[str] = mapped_column(EncryptedType(String(40), index=[NGram()]))

    engine = create_async_engine(async_database.async_url or "")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[watched(tmp_path)])
    keyring.protect(Base)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    towns = {n: "rare" if n in (3, 150, 299) else f"town{n % 9}" for n in range(1, 301)}
    sent: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.extend([statement] * ("FROM patients" in statement))

    async with AsyncSession(engine) as session:
        session.add_all(
            [Patient(id=n, clinic="acme", town=town, note=f"In {town}!") for n, town in towns.items()]
        )
        await session.commit()
    keyring.close()
    keyring = Keyring(engine, platform_key="local:pmk", providers=[watched(tmp_path)])
    keyring.protect(Base)
    with tenant_scope("acme"):
        async with AsyncSession(engine) as session:
            for town in ("rare", "town4", "nowhere"):
                ids = [n for n, one in towns.items() if one == town]
                asked = select(Patient).where(Patient.town == town).order_by(Patient.id)
                assert [one.id for one in await session.scalars(asked)] == ids
                page = asked.limit(2).offset(1)
                assert [one.id for one in await session.scalars(page)] == ids[1:3]
                for statement, expected in ((asked, ids), (page, ids[1:3])):
                    streamed = await session.stream_scalars(statement.execution_options(yield_per=7))
                    assert [one.id async for one in streamed] == expected
                noted = select(Patient.id, Patient.note).where(Patient.note.icontains(f"N {town}!"))
                assert (await session.scalars(noted.order_by(Patient.id).limit(3))).all() == ids[:3]
            sent.clear()
            assert (await session.scalars(select(Patient).where(Patient.town == "rare").limit(3))).all()
            assert len(sent) > 1
    keyring.close()
    await engine.dispose()
