"""An Alembic project in a folder of its own, driven by Alembic's commands."""

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import alembic
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine

# Alembic loads the plugin with the first migration's context, and some tests render operations without one.
import sqlalchemy_cmk.alembic.autogenerate.render_ops  # noqa: F401
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database
from tests.support.drivers import keyring_engine

ENV = """
from alembic import context
from tests.support.drivers import connected

given = context.config.attributes

def configure(**options):
    options.update(given["options"], target_metadata=given["metadata"], keyring=given["keyring"])
    context.configure(**options)
    with context.begin_transaction():
        context.run_migrations()

def online(connection):
    if given["session"]:
        connection.detach()  # what is set ends with the session
    for statement in given["session"]:
        connection.exec_driver_sql(statement)
    connection.commit()
    configure(connection=connection)

if context.is_offline_mode():
    configure(url=given["engine"].url, literal_binds=True)
else:
    connected(given["engine"], online)
"""


class Project:
    """The migrations of an application.

    `metadata` is what the models say now: a test exchanges it as a developer changes the models.
    `session` are statements that `env.py` executes on the migrations' connection first.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.engine: Engine = create_engine(url)
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.metadata = MetaData()
        self.options: dict[str, Any] = {}
        self.keyring_options: dict[str, Any] = {}
        self.session: list[str] = []
        self._open: Keyring | None = None
        (folder / "versions").mkdir()
        (folder / "env.py").write_text(ENV)
        template = Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako"
        shutil.copy(template, folder)

    @property
    def keyring(self) -> Keyring:
        """The keyring, over the newest metadata."""
        if self._open is None:
            self._open = Keyring(
                keyring_engine(self.engine),
                platform_key="local:pmk",
                providers=[self.provider],
                **self.keyring_options,
            )
        self._open.protect(self.metadata)
        return self._open

    def models(self, metadata: MetaData) -> None:
        """Let the models be these from now on."""
        self.close()
        self.metadata = metadata

    def autogenerate(self) -> str:
        """Write a migration, and return its text; nothing is written where nothing was found."""
        [text] = self.autogenerate_all() or [""]
        return text

    def autogenerate_all(self) -> list[str]:
        """Write the migrations that are found, and return the text of each, the first one first."""
        made: Any = command.revision(self._config(), "found", autogenerate=True)
        paths = [Path(one.path) for one in (made if isinstance(made, list) else [made])]
        texts = [path.read_text() for path in paths]
        if len(texts) > 1 or "please adjust! ###\n    pass\n" not in texts[0]:
            return texts
        paths[0].unlink()
        return []

    def revision(self, upgrade: str, downgrade: str = "pass") -> None:
        """Write a migration by hand."""
        script = command.revision(self._config(), "by hand")
        path = Path(script.path)  # type: ignore[union-attr]
        head, _, _ = path.read_text().partition("def upgrade")
        imports = "from sqlalchemy_cmk import EncryptedType\n"
        bodies = (f"def {n}():\n    {b}\n" for n, b in (("upgrade", upgrade), ("downgrade", downgrade)))
        path.write_text(head + imports + "\n\n".join(bodies))

    def revisions(self) -> list[Script]:
        """Every migration."""
        return list(ScriptDirectory.from_config(self._config()).walk_revisions())

    def upgrade(self, to: str = "head") -> None:
        command.upgrade(self._config(), to)

    def downgrade(self, to: str = "-1") -> None:
        command.downgrade(self._config(), to)

    def sql(self, revisions: str = "head", down: bool = False) -> str:
        """Return what `--sql` writes."""
        out = io.StringIO()
        (command.downgrade if down else command.upgrade)(self._config(out), revisions, sql=True)
        return out.getvalue()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _config(self, out: Any = None) -> Config:
        config = Config(output_buffer=out, stdout=io.StringIO())
        config.set_main_option("script_location", str(self.folder))
        config.set_main_option("path_separator", "os")
        config.attributes.update(
            metadata=self.metadata,
            keyring=self.keyring,
            engine=self.engine,
            options=self.options,
            session=self.session,
        )
        return config


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[[str], Project]]:
    """Makes a project on a database."""
    made: list[Project] = []

    def make(url: str) -> Project:
        made.append(Project(tmp_path / "migrations", url))
        return made[-1]

    (tmp_path / "migrations").mkdir()
    yield make
    for project in made:
        project.close()
        project.engine.dispose()


@pytest.fixture
def project(make_project: Callable[[str], Project], database: Database) -> Iterator[Project]:
    """A project on an empty database of each kind, closed before that is dropped."""
    made = make_project(database.url)
    yield made
    made.close()
    made.engine.dispose()


@pytest.fixture
def sqlite_project(make_project: Callable[[str], Project], sqlite_database: Database) -> Project:
    """A project on an empty SQLite database."""
    return make_project(sqlite_database.url)


@pytest.fixture(autouse=True)
def _drivers(drivers: None) -> None:
    """Have every test run by each set of drivers."""
