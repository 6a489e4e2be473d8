"""The tables that are read and written, sealed and in plain text, in a SQLite file under warm keys."""

import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Date, Integer, String, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from benchmarks.timing import timed
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider

Row = dict[str, Any]


class Base(DeclarativeBase):
    """The tables of the benchmarks."""


def sealed() -> EncryptedType:
    """Return the type of a sealed column."""
    return EncryptedType(String(40))


def plain() -> String:
    """Return the type of the same column in plain text."""
    return String(40)


def patients(
    name: str, type_: Callable[[], Any], tenant: str | None = None, bases: tuple[type, ...] = (Base,)
) -> Any:
    """Return a model of six columns, two of them of the given type."""
    columns = {
        "id": mapped_column(Integer, primary_key=True),
        "clinic_id": mapped_column(String(40)),
        "name": mapped_column(type_()),
        "ssn": mapped_column(type_()),
        "city": mapped_column(String(40)),
        "admitted": mapped_column(Date),
    }
    return type(name, bases, {"__tablename__": name, "__cmk_tenant__": tenant, **columns})


def patient_rows(count: int, tenants: int = 1) -> list[Row]:
    """Return the rows of such a model, those of several tenants interleaved at random."""
    owner = Random(9).randrange
    day = dt.date(2026, 1, 2)
    return [
        {
            "id": number,
            "clinic_id": f"tenant {owner(tenants)}",
            "name": f"Patient {number}",
            "ssn": f"078-05-{number:04}",
            "city": "Bern",
            "admitted": day,
        }
        for number in range(1, count + 1)
    ]


class Database:
    """A SQLite file with the tables and a keyring, whose keys do not expire while the benchmarks run."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="cmk-bench-")
        self.folder = Path(self._temporary.name)
        self.engine = create_engine(f"sqlite:///{self.folder}/bench.db")
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[LocalKeyProvider(self.folder / "keys.json")],
            revalidate_after=dt.timedelta(days=1),
        )
        self.keyring.protect(Base)
        Base.metadata.create_all(self.engine)

    def fill(self, model: Any, rows: list[Row]) -> None:
        """Insert rows into an empty table, and open the keys of their tenants."""
        self.keyring.warm({"", *(row["clinic_id"] for row in rows if model.__cmk_tenant__)}, new=True)
        with Session(self.engine) as session:
            session.execute(insert(model), rows)
            session.commit()

    def orm_load(self, model: Any, rows: list[Row]) -> float:
        """Return the seconds in which all rows are loaded as objects."""
        with Session(self.engine) as session:
            seconds, found = timed(lambda: session.scalars(select(model)).all())
            last = {key: getattr(found[-1], key) for key in rows[-1]}
            assert len(found) == len(rows) and last == rows[-1]
            return seconds

    def core_load(self, model: Any, rows: list[Row]) -> float:
        """Return the seconds in which all rows are loaded without the ORM."""
        with self.engine.connect() as connection:
            seconds, found = timed(lambda: connection.execute(select(model.__table__)).all())
            assert len(found) == len(rows) and found[-1]._asdict() == rows[-1]
            return seconds

    def close(self) -> None:
        """Close the keyring and remove the file."""
        self.keyring.close()
        self.engine.dispose()
        self._temporary.cleanup()
