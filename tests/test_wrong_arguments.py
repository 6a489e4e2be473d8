"""Every public function that is given something wrong says in one sentence what to write instead."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import sqlalchemy_cmk
from sqlalchemy_cmk import CmkError, EncryptedType, Keyring, check, dbapi, doctor, providers, rekey, search
from sqlalchemy_cmk.flask import CMK
from sqlalchemy_cmk.keys import load_keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.rekey import Job, Rekey
from sqlalchemy_cmk.search import Exact

LONGEST = 350
REFERENCE = Path(__file__).parents[1] / "docs/reference/migrations.md"
OPERATIONS = [line.rpartition(".")[2] for line in REFERENCE.read_text().splitlines() if "automethod" in line]
# Values that the library returns and providers use, and what it defines for others to derive from.
NOT_ASKED = {
    *("AiosqliteConnection", "AsyncpgConnection", "Connection", "Cursor", "Damaged", "Finding"),
    *("KeyProvider", "Level", "Migration", "Move", "Normalizer", "Place", "Progress", "ProgressCallback"),
    *("Report", "RowCounts", "Run", "RunState", "Sealed", "SearchIndex", "Subject", "Throttled", "Timing"),
    *("Use", "Wrapped", "fold", "foreign_algorithm", "foreign_version", "identity"),
}
# Closing ends the test; trails are written by the library itself.
NOT_CALLED = {"close", "append", "soon", "now", "known", "require_reasons", "start_anew", "after_fork"}


class Base(DeclarativeBase):
    pass


class Patient(Base):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(20))
    ssn: Mapped[str] = mapped_column(EncryptedType(String(20), index=[Exact()]))


class Wall:
    """What nobody wants to read in a message."""

    def __repr__(self) -> str:
        return "WALL" * 100


class World:
    """An application with one row, and arguments that its functions take."""

    def __init__(self, folder: Path) -> None:
        self.engine = create_engine(f"sqlite:///{folder}/app.db")
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(self.engine, platform_key="local:pmk", providers=[self.provider])
        self.keyring.protect(Base)
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session:
            session.add(Patient(id=1, clinic="acme", ssn="078-05-1120"))
            session.commit()
        self.connection = self.engine.connect()
        self.right = {
            "platform_key": "local:pmk",
            "providers": [self.provider],
            "keyring": self.keyring,
            "engine": self.engine,
            "connection": self.connection,
            "job": Job.of(Patient),
            "table": Patient.__table__,
            "tables": Base,
            "column": Patient.ssn,
            "tenant": "acme",
            "tenants": ["acme"],
            "kek_uri": "local:pmk",
            "kek": "local:pmk",
            "index": Exact(),
            "columns": ["ssn"],
            "column_name": "ssn",
            "table_name": "patients",
            "subjects": [],
            "known": set(),
            "row": {},
        }
        self.wrong = [None, 4000, -1, 4000.5, "text", b"bytes", Wall(), [Wall()], [], (), {}, {"a": 1}, True]
        self.wrong += [self.engine, self.keyring, Base, Patient, Patient.__table__, Patient.ssn, "sqlite://"]
        self.wrong += [date(2020, 1, 1), String, String(20)]

    def close(self) -> None:
        self.connection.close()
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("wrong"))
    yield made
    made.close()


def public_names() -> Iterator[tuple[str, Callable[[World], Any]]]:
    for package in (sqlalchemy_cmk, search, rekey, dbapi, doctor, check, providers):
        for name in package.__all__:
            found = getattr(package, name)
            if name not in NOT_ASKED and not (
                isinstance(found, type) and issubclass(found, Exception | Enum)
            ):
                yield f"{package.__name__}.{name}", lambda world, found=found: found
    yield "load_keyring", lambda world: load_keyring
    yield "Job.of", lambda world: Job.of
    yield "CMK", lambda world: CMK
    yield "CMK.init_app", lambda world: CMK().init_app


OBJECTS: dict[str, tuple[type, Callable[[World], Any]]] = {
    "keyring": (Keyring, lambda world: world.keyring),
    "keyring.lifecycle": (sqlalchemy_cmk.keys.lifecycle.lifecycle.Lifecycle, lambda w: w.keyring.lifecycle),
    "keyring.audit": (sqlalchemy_cmk.keys.audit.trail.AuditTrail, lambda world: world.keyring.audit),
    "Rekey": (Rekey, lambda world: Rekey(world.keyring)),
}


def methods() -> Iterator[tuple[str, Callable[[World], Any]]]:
    for label, (kind, make) in OBJECTS.items():
        for name in dir(kind):
            member = inspect.getattr_static(kind, name)
            if not name.startswith("_") and name not in NOT_CALLED and callable(member):
                yield f"{label}.{name}", lambda world, make=make, name=name: getattr(make(world), name)
    for name in ("rotate", "disable", "enable", "has"):
        yield f"LocalKeyProvider.{name}", lambda world, name=name: getattr(world.provider, name)
    for name in OPERATIONS:
        yield f"op.{name}", lambda world, name=name: getattr(operations(world), name)


def operations(world: World) -> Operations:
    return Operations(MigrationContext.configure(world.connection))


CALLABLES = dict([*public_names(), *methods()])


@pytest.mark.parametrize("name", CALLABLES)
def test_what_is_wrong_is_said_in_one_sentence(world: World, name: str) -> None:
    function = CALLABLES[name](world)
    parameters = inspect.signature(function).parameters
    named = [one for one in parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    for one in named:
        for wrong in world.wrong:
            if isinstance(one.default, bool) and not isinstance(wrong, bool | int | None):
                continue  # Python's own truth, of which SQL expressions have none
            problem = outcome(function, world, named, one.name, wrong)
            assert problem is None, (one.name, type(wrong).__name__, problem)


def outcome(function: Any, world: World, named: list[inspect.Parameter], name: str, wrong: Any) -> str | None:
    """Return what is unsuitable about the answer to a wrong argument; ``None`` if nothing is."""
    needed = {one.name: world.right.get(one.name, "x") for one in named if one.default is one.empty}
    given = needed | {name: wrong}
    alone = [given.pop(one.name) for one in named if one.kind is one.POSITIONAL_ONLY and one.name in given]
    try:
        result = function(*alone, **given)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        elif isinstance(result, Keyring) and function is Keyring:
            result.close()
        elif inspect.isgenerator(result):
            next(result, None)
    except CmkError as error:
        message = str(error)
        if "WALL" in message or "0x" in message or "\n" in message or not 0 < len(message) <= LONGEST:
            return message
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        world.connection.rollback()
    return None
