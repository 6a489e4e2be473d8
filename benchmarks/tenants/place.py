"""A table of many tenants' rows, with five sealed columns, and the keyring that seals them."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from sqlalchemy import Integer, String, create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from benchmarks.tenants.key_tables import make_tenants
from benchmarks.timing import timed
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.databases import Database, Servers, server_database, sqlite_file

COLUMNS = ("name", "ssn", "street", "phone", "note")
_numbers = count()


class Counting(LocalKeyProvider):
    """The local provider, counting its unwraps, and how many of one key there are at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.unwraps = 0
        self.most_at_once = 0
        self._under_way: dict[bytes, int] = {}
        self._counting = Lock()

    def unwrap(self, wrapped: Wrapped) -> Secret:
        key = wrapped.data
        with self._counting:
            self.unwraps += 1
            now = self._under_way[key] = self._under_way.get(key, 0) + 1
            self.most_at_once = max(self.most_at_once, now)
        try:
            return super().unwrap(wrapped)
        finally:
            with self._counting:
                self._under_way[key] -= 1


class Place:
    """A database with a table of so many tenants' rows, interleaved at random, and their keys.

    Args:
        url: the database's.
        folder: where the provider keeps its KEK.
        columns: how many of the columns are sealed and filled.
        pool_size: how many connections the application's pool keeps.
        options: what else the keyring is given.
    """

    def __init__(self, url: str, folder: Path, columns: int = 1, pool_size: int = 5, **options: Any) -> None:
        names = COLUMNS[:columns]
        number = next(_numbers)
        base = type("Base", (DeclarativeBase,), {})
        sealed = {name: mapped_column(EncryptedType(String(40))) for name in names}
        self.model: Any = type(
            "Patient",
            (base,),
            {
                "__tablename__": f"patients_{number}",
                "__cmk_tenant__": "clinic_id",
                "id": mapped_column(Integer, primary_key=True),
                "clinic_id": mapped_column(String(40)),
                **sealed,
            },
        )
        self.names = names
        self.engine = create_engine(url, pool_size=pool_size)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _without_sync)
        self.provider = Counting(folder / f"keys{number}.json")
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[self.provider],
            table_prefix=f"cmk{number}_",
            **{"revalidate_after": timedelta(days=1), **options},
        )
        self.keyring.protect(base)
        base.metadata.create_all(self.engine)  # type: ignore[attr-defined]

    def fill(self, rows: int, tenants: int) -> None:
        """Write rows, after the keys of their tenants were made."""
        owners = [f"tenant {number % tenants}" for number in range(rows)]
        Random(7).shuffle(owners)
        make_tenants(self.keyring, sorted(set(owners)))
        with Session(self.engine) as session:
            session.execute(insert(self.model), [self.row(i, owner) for i, owner in enumerate(owners, 1)])
            session.commit()

    def row(self, number: int, owner: str) -> dict[str, Any]:
        """Return a row, whose values name its owner."""
        return {
            "id": number,
            "clinic_id": owner,
            **{name: f"{name} {number} of {owner}" for name in self.names},
        }

    def orm_load(self) -> float:
        """Return the seconds in which all rows are loaded as objects."""
        with Session(self.engine) as session:
            seconds, found = timed(lambda: session.scalars(select(self.model)).all())
            last = found[-1]
            assert last.name == f"name {last.id} of {last.clinic_id}"
            return seconds

    def core_load(self) -> float:
        """Return the seconds in which all rows are loaded without the ORM."""
        with self.engine.connect() as connection:
            seconds, found = timed(lambda: connection.execute(select(self.model.__table__)).all())
            assert found[-1].name == f"name {found[-1].id} of {found[-1].clinic_id}"
            return seconds

    def close(self) -> None:
        """Close the keyring and the engine."""
        self.keyring.close()
        self.engine.dispose()


def databases(folder: Path) -> Iterator[tuple[str, Database]]:
    """Give an empty SQLite file, and then an empty database of a private PostgreSQL, by name."""
    yield "SQLite", sqlite_file(folder)
    servers = Servers()
    try:
        with server_database("postgresql", servers.url("postgresql")) as database:
            yield "PostgreSQL", database
    finally:
        servers.close()


def _without_sync(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")
