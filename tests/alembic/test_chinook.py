"""A developer with an existing database seals two columns, by Alembic's own command."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, inspect, text

from tests.alembic import chinook
from tests.support.databases import Database
from tests.support.drivers import driver_url

# Two seconds between one batch and the next, in which the upgrade is killed.
SLOWLY = {"rate": 5, "chunk": 10}
READ = """
import models
from sqlalchemy.orm import Session

def show(session):
    for customer in session.query(models.Customer).order_by(models.Customer.CustomerId):
        print(ascii((customer.CustomerId, customer.Phone, customer.Email)))
"""
SHOW = """
with Session(models.engine) as session:
    show(session)
"""
ASYNC_SHOW = """
import asyncio
from sqlalchemy.ext.asyncio import AsyncSession

async def read():
    async with AsyncSession(models.engine) as session:
        await session.run_sync(show)
    await models.engine.dispose()

asyncio.run(read())
"""


class Shop:
    """The application, its database and its migrations, by Alembic's template for its driver."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.engine: Engine = create_engine(url, poolclass=NullPool)
        self.url = driver_url(self.engine.url)
        self.is_async = self.url.get_dialect().is_async
        self.write(chinook.PLAIN, keyring=False)
        self.python(
            "import models; from sqlalchemy import create_engine; from tests.alembic import chinook\n"
            f"with create_engine({url!r}).begin() as connection:\n"
            "    models.Base.metadata.create_all(connection)\n"
            "    chinook.fill(connection, models.Base.metadata)"
        )
        self.alembic("init", "-t", "async" if self.is_async else "generic", "migrations")
        self._edit_env("target_metadata = None", "from models import Base\ntarget_metadata = Base.metadata")
        self._edit(
            "alembic.ini",
            "sqlalchemy.url = driver://user:pass@localhost/dbname",
            f"sqlalchemy.url = {self.url.render_as_string(hide_password=False)}",
        )

    def write(self, types: dict[str, str], *, keyring: bool = True) -> None:
        chinook.write_models(self.folder, self.url, types, keyring=keyring)

    def adopt(self, **options: Any) -> None:
        """What a developer does: the types, and the two lines in env.py."""
        self.write(chinook.SEALED)
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        self._edit_env("import Base\n", "import Base, keyring\n")
        self._edit_env(
            "target_metadata=target_metadata", f"target_metadata=target_metadata, keyring=keyring{given}"
        )

    def hurry(self) -> None:
        """Let the rest of the rows be sealed without a limit."""
        self._edit_env(f", rekey={SLOWLY!r}", "")

    def alembic(self, *arguments: str) -> str:
        return self._run("-m", "alembic", *arguments)

    def python(self, code: str) -> str:
        return self._run("-c", code)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, *arguments], cwd=self.folder, env=self._environment())

    def stored(self) -> dict[str, Any]:
        """Every row of the application's tables as the database holds it, and the tables' shapes."""
        inspector = inspect(self.engine)
        found: dict[str, Any] = {}
        with self.engine.connect() as connection:
            for name in ("Album", "Artist", "Customer", "Invoice", "Track"):
                columns = sorted(
                    (c["name"], repr(c["type"]), c["nullable"]) for c in inspector.get_columns(name)
                )
                quote = connection.dialect.identifier_preparer.quote
                names = ", ".join(quote(column) for column, _, _ in columns)
                rows = connection.execute(text(f"SELECT {names} FROM {quote(name)} ORDER BY 1, 2")).all()
                unique = inspector.get_unique_constraints(name)
                found[name] = columns, [tuple(row) for row in rows], inspector.get_indexes(name), unique
        return found

    def customers(self) -> str:
        return self.python(READ + (ASYNC_SHOW if self.is_async else SHOW))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": f"{self.folder}:{Path(__file__).parents[2]}"}

    def _edit_env(self, old: str, new: str) -> None:
        self._edit("migrations/env.py", old, new)

    def _edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def shop(tmp_path: Path, database: Database) -> Iterator[Shop]:
    made = Shop(tmp_path, database.url)
    yield made
    made.engine.dispose()


def test_a_developer_seals_two_columns_and_goes_back_to_the_same_bytes(shop: Shop) -> None:
    before, customers = shop.stored(), shop.customers()
    shop.adopt()
    shop.alembic("revision", "--autogenerate", "-m", "seal")
    shop.alembic("upgrade", "head")
    assert "No new upgrade operations detected" in shop.alembic("check")
    assert shop.customers() == customers
    sealed = repr(shop.stored()["Customer"][1])
    assert "3923" not in sealed and "@example.org" not in sealed
    shop.alembic("downgrade", "base")
    assert shop.stored() == before
    assert not any(name.startswith("cmk_") for name in inspect(shop.engine).get_table_names())


def test_an_upgrade_that_is_killed_goes_on_when_it_is_run_again(shop: Shop) -> None:
    customers = shop.customers()
    shop.adopt(rekey=SLOWLY)
    shop.alembic("revision", "--autogenerate", "-m", "seal")
    upgrading = shop.start("-m", "alembic", "upgrade", "head")
    sealed = wait_for(lambda: some_sealed(shop), upgrading)
    upgrading.send_signal(signal.SIGKILL)
    upgrading.wait()
    assert 0 < sealed < 150
    shop.hurry()
    shop.alembic("upgrade", "head")
    assert shop.customers() == customers
    assert "No new upgrade operations detected" in shop.alembic("check")


def wait_for(look: Callable[[], int], process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("nothing was sealed while the upgrade ran")


def some_sealed(shop: Shop) -> int:
    """How many values of the first column the killed upgrade has sealed so far."""
    quote = shop.engine.dialect.identifier_preparer.quote
    columns = {column["name"] for column in inspect(shop.engine).get_columns("Customer")}
    shadow = next((name for name in columns if re.fullmatch(r"\w+__cmk", name)), None)
    if shadow is None:
        return 0
    with shop.engine.connect() as connection:
        query = text(f"SELECT count({quote(shadow)}) FROM {quote('Customer')}")
        return int(connection.execute(query).scalar_one())
