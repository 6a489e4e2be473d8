"""A table of plain values, and the models that are to seal them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Date, MetaData, String, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database

Make = Callable[..., Keyring]


def declare() -> Any:
    """Return the base of models of which some columns are sealed."""

    class Base(DeclarativeBase):
        metadata = MetaData()

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        born: Mapped[Any] = mapped_column(EncryptedType(Date), nullable=True)
        history: Mapped[Any] = mapped_column(EncryptedType(JSON), nullable=True)
        phone: Mapped[str | None] = mapped_column(String(40), unique=True)

    return Base


TABLE = (
    "CREATE TABLE patients (id INTEGER PRIMARY KEY, clinic VARCHAR(40) NOT NULL, ssn VARCHAR(40), "
    "email VARCHAR(40), born DATE, phone VARCHAR(40) UNIQUE)"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a keyring over a database with a table of plain values, and what stands around it."""
    made: list[Keyring] = []

    def keyring(url: str, *around: str, asynchronous: bool = False) -> Keyring:
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in (TABLE, *around):
                connection.exec_driver_sql(statement)
            rows = [f"({n}, 'acme', '078-05-{n}', 'a{n}@x', '1990-01-02', '{n}')" for n in range(300)]
            connection.exec_driver_sql(f"INSERT INTO patients VALUES {', '.join(rows)}")
        engine.dispose()
        serving = (
            create_async_engine(f"{url}".replace("sqlite:", "sqlite+aiosqlite:")) if asynchronous else engine
        )
        made.append(
            Keyring(serving, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
        )
        made[-1].protect(declare())
        return made[-1]

    yield keyring
    for one in made:
        one.close()


@pytest.fixture
def plain(make: Make, sqlite_database: Database) -> Keyring:
    """A keyring over an SQLite database that was never touched by it."""
    return make(sqlite_database.url)
