"""Migrations on an asynchronous driver: rows are sealed off the loop, which goes on meanwhile."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from sqlalchemy_cmk import KeyUnavailable
from sqlalchemy_cmk.rekey import Rekey
from tests.alembic.adopting import Adoption, adoption
from tests.conftest import empty_database
from tests.support.drivers import by_drivers, keyring_engine

ASYNC = {"sqlite": "async", "postgresql": "asyncpg"}


@pytest.fixture(params=ASYNC)
def adopted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adoption]:
    """A table of plain values, and a keyring on an asynchronous driver."""
    with by_drivers(ASYNC[request.param]):
        for database in empty_database(request):
            with adoption(database.url, tmp_path) as made:
                made.create()
                made.fill(40)
                yield made


async def seal(adopted: Adoption) -> None:
    """Run the migration as Alembic's asynchronous template does."""
    engine = keyring_engine(adopted.engine)
    assert isinstance(engine, AsyncEngine)
    async with engine.connect() as connection:
        await connection.run_sync(adopted.migration(adopted.sealing))


def test_a_migration_that_failed_after_it_made_the_shadow_goes_on(
    adopted: Adoption, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = adopted.stored()
    with monkeypatch.context() as patched, pytest.raises(KeyUnavailable):
        patched.setattr(Rekey, "run", out_of_reach)
        adopted.seal()
    assert columns(adopted) == ["id", "clinic_id", "ssn", "ssn__cmk"]
    assert [row[:3] for row in adopted.stored()] == plain
    adopted.seal()
    assert columns(adopted) == ["id", "clinic_id", "ssn"]
    assert adopted.opened() == plain


async def test_the_loop_goes_on_while_rows_are_sealed(
    adopted: Adoption, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, run = threading.Event(), threading.Event(), Rekey.run

    def wait_for_the_loop(*arguments: Any) -> Any:
        begun.set()
        assert goes_on.wait(60), "the loop stands still"
        return run(*arguments)

    async def work_on() -> None:
        while not begun.is_set():
            await asyncio.sleep(0.01)
        goes_on.set()

    monkeypatch.setattr(Rekey, "run", wait_for_the_loop)
    await asyncio.gather(seal(adopted), work_on())
    assert goes_on.is_set()


async def test_two_migrations_of_one_table_on_one_loop_take_turns(adopted: Adoption) -> None:
    plain = await asyncio.to_thread(adopted.stored)
    async with asyncio.timeout(60):
        await asyncio.gather(seal(adopted), seal(adopted))
    assert await asyncio.to_thread(adopted.opened) == plain


def out_of_reach(*_: Any) -> None:
    raise KeyUnavailable("the KEK cannot be reached")


def columns(adopted: Adoption) -> list[str]:
    return [column["name"] for column in inspect(adopted.engine).get_columns("patients")]
