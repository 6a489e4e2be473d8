"""An application in a folder of its own, whose keyring the command finds as it finds any."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session

from sqlalchemy_cmk.cli.app import cmk
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
PLACE = "clinic_app:keyring"
SECRET = "078-05-1120"

MODULE = """
import os
from pathlib import Path

from sqlalchemy import ForeignKey, String, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider

FOLDER = Path(__file__).parent


class Base(DeclarativeBase):
    pass


class Patient(Base):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40), index=True)
    ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
    email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))


class Visit(Base):  # no index leads with the tenant
    __tablename__ = "visits"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(EncryptedType(String(40), on_revoked="seal"))


class Document(Base):
    __tablename__ = "documents"
    __cmk_tenant__ = "clinic"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    clinic: Mapped[str] = mapped_column(String(40), index=True)


class Letter(Document):  # its tenant is in the row of the base table
    __tablename__ = "letters"
    __mapper_args__ = {"polymorphic_identity": "letter"}
    id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    body: Mapped[str] = mapped_column(EncryptedType(String(40)))


class Setting(Base):
    __tablename__ = "settings"
    __cmk_tenant__ = None
    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(EncryptedType(String(40)))


def engine():
    url = os.environ.get("CLINIC_URL", f"sqlite:///{FOLDER}/database.sqlite")
    if "+aiosqlite" in url or "+asyncpg" in url:
        return create_async_engine(url)
    return create_engine(url, pool_size=1, max_overflow=0, pool_timeout=30)


def keyring():
    made = Keyring(engine(), platform_key="local:pmk", providers=[LocalKeyProvider(FOLDER / "keys.json")])
    made.protect(Base)
    return made
"""


class Application:
    """The application and its command line."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        (folder / "clinic_app.py").write_text(MODULE)
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.engine = create_engine(url)
        self.models = self._import()
        self.keyring = self.models.keyring()

    def _import(self) -> Any:
        # Under another name: the command imports the module itself, as a process of its own does.
        spec = importlib.util.spec_from_file_location("clinic_models", self.folder / "clinic_app.py")
        assert spec is not None and spec.loader is not None
        module = sys.modules["clinic_models"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def create(self) -> None:
        self.models.Base.metadata.create_all(self.engine)

    def write(self, *tenants: str) -> None:
        """A patient, a visit and a letter of each tenant."""
        with Session(self.engine) as session:
            for one in tenants:
                session.add(self.models.Patient(clinic=one, ssn=SECRET, email=f"me@{one}.example"))
                session.add(self.models.Visit(clinic=one, reason="a cough"))
                session.add(self.models.Letter(clinic=one, body="Dear colleague"))
            session.commit()

    def execute(self, sql: str, **parameters: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql), parameters)

    def raw(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def run(self, *arguments: str, typed: str | None = None, place: str = PLACE) -> Result:
        """Run the command here."""
        forget_modules(self.folder)
        return CliRunner().invoke(
            cmk, ["--keyring", place, *arguments], input=typed, prog_name="cmk", catch_exceptions=False
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints for a program; nothing else is on stdout."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start the command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "sqlalchemy_cmk.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command as a process of its own."""
        running = self.start(*arguments, **{"CMK_KEYRING": PLACE, **environment})
        out, err = running.communicate(timeout=120)
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    def status(self, tenant: str) -> dict[str, Any]:
        (line,) = self.json("status", "--tenant", tenant)["tenants"]
        return line  # type: ignore[no-any-return]

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


def forget_modules(folder: Path) -> None:
    """Have the modules of a folder imported again, as a process of its own would."""
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        # A package without an `__init__.py` has no file.
        places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
        if name != "clinic_models" and any(str(one).startswith(str(folder)) for one in places):
            del sys.modules[name]


@pytest.fixture
def make_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Application]]:
    """Makes an application with its tables on a database; the test then works in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for variable in ("CMK_KEYRING", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    made: list[Application] = []

    def make(url: str, command_url: str | None = None) -> Application:
        monkeypatch.setenv("CLINIC_URL", make_url(url).render_as_string(hide_password=False))
        made.append(Application(tmp_path, url))
        made[-1].create()
        if command_url is not None:
            monkeypatch.setenv("CLINIC_URL", command_url)
        return made[-1]

    yield make
    for application in made:
        application.close()
    forget_modules(tmp_path)
    sys.modules.pop("clinic_models", None)


@pytest.fixture
def app(make_application: Callable[..., Application], sqlite_database: Database) -> Application:
    """An application on SQLite whose tenants are acme, on a KEK of its own, and globex, on the platform's."""
    application = make_application(sqlite_database.url)
    application.keyring.assign("acme", "local:acme")
    application.write("acme", "globex")
    return application
