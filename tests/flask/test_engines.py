"""Which databases an application's keyring serves, and which one a call is about."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, create_engine, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.flask import CMK
from tests.flask.clinics import NAMES, Clinics, Patient, keyring, names
from tests.keys.binding.shop import Shop, deks


class Notes:
    """A Flask-SQLAlchemy with a model in each of two databases, and its applications."""

    def __init__(self, folder: Path) -> None:
        class Base(DeclarativeBase):
            pass

        self.db = SQLAlchemy(model_class=Base)

        class Note(self.db.Model):  # type: ignore[name-defined,misc]
            __cmk_tenant__ = "owner"
            id: Mapped[int] = mapped_column(primary_key=True)
            owner: Mapped[str] = mapped_column(String(40))
            text: Mapped[str] = mapped_column(EncryptedType(String(40)))

        class Visit(self.db.Model):  # type: ignore[name-defined,misc]
            __bind_key__ = "archive"
            __cmk_tenant__ = "owner"
            id: Mapped[int] = mapped_column(primary_key=True)
            owner: Mapped[str] = mapped_column(String(40))
            text: Mapped[str] = mapped_column(EncryptedType(String(40)))

        self.note, self.visit, self.folder = Note, Visit, folder

    def app(self, name: str, cmk: CMK, **config: Any) -> Flask:
        app = Flask(name, instance_path=str(self.folder))
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{self.folder}/{name}.db"
        app.config["SQLALCHEMY_BINDS"] = {"archive": f"sqlite:///{self.folder}/{name}-archive.db"}
        app.config.update(config)
        self.db.init_app(app)
        cmk.init_app(app)
        with app.app_context():
            self.db.create_all()
        return app

    def write(self) -> None:
        self.db.session.add_all([self.note(owner="acme", text="one"), self.visit(owner="acme", text="two")])
        self.db.session.commit()

    def read(self) -> list[str]:
        return [self.db.session.scalars(select(one)).one().text for one in (self.note, self.visit)]


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    yield Notes(tmp_path)
    gc.collect()


def test_each_bind_has_keys_of_its_own(notes: Notes) -> None:
    cmk = CMK(keyring=keyring(notes.folder))
    with notes.app("app", cmk).app_context():
        engines = notes.db.engines
        cmk.keyring.assign("acme", "local:acme")
        archive = cmk.keyring.for_engine(engines["archive"])
        archive.assign("acme", "local:archive")
        notes.write()
        archive.forget()
        assert notes.read() == ["one", "two"]
        assert not deks(engines[None]) & deks(engines["archive"]) and deks(engines[None])
        assert [line.kek_uri for line in cmk.keyring.status()] == ["local:acme"]
        assert [line.kek_uri for line in archive.status()] == ["local:archive"]
    cmk.keyring.close()


def test_in_an_applications_context_calls_are_about_its_own_database(notes: Notes) -> None:
    cmk = CMK(keyring=keyring(notes.folder))
    apps = [notes.app("one", cmk), notes.app("two", cmk)]
    for app in apps:
        with app.app_context():
            cmk.keyring.assign("acme", f"local:{app.name}")
            notes.write()
    for app in apps:
        with app.app_context():
            assert [line.kek_uri for line in cmk.keyring.status()] == [f"local:{app.name}"]
            assert notes.read() == ["one", "two"]
    with pytest.raises(ConfigurationError, match="serves 4 engines"):
        cmk.keyring.status()
    cmk.keyring.close()


def test_each_application_may_have_a_keyring_of_its_own(notes: Notes) -> None:
    cmk = CMK()
    config = {"CMK_PLATFORM_KEY": "local:pmk"}
    apps = [notes.app(name, cmk, CMK_LOCAL_KEYS=f"{name}.json", **config) for name in ("one", "two")]
    keyrings = []
    for app in apps:
        with app.app_context():
            notes.write()
            assert notes.read() == ["one", "two"]
            keyrings.append(cmk.keyring)
    assert keyrings[0] is not keyrings[1]
    assert {one.name for one in notes.folder.glob("*.json")} == {"one.json", "two.json"}
    with pytest.raises(ConfigurationError, match="app_context"):
        _ = cmk.keyring
    for one in keyrings:
        one.close()


def test_a_bind_may_be_a_copy_of_another(notes: Notes) -> None:
    cmk = CMK(keyring=keyring(notes.folder))
    # The file itself stands for its copy.
    binds = {
        "archive": f"sqlite:///{notes.folder}/archive.db",
        "reader": f"sqlite:///{notes.folder}/app.db",
    }
    app = notes.app("app", cmk, SQLALCHEMY_BINDS=binds, CMK_REPLICAS={"reader": None})
    with app.app_context():
        notes.write()
        reader = notes.db.engines["reader"]
        with Session(reader) as session:
            assert session.scalars(select(notes.note)).one().text == "one"
        assert cmk.keyring.for_engine(reader).keys is cmk.keyring.keys
    cmk.keyring.close()


def test_an_application_without_flask_sqlalchemy_gives_its_engine_and_models(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    cmk = CMK(models=shop.base)
    app = Flask("shop", instance_path=str(tmp_path))
    app.config.update(CMK_PLATFORM_KEY="local:pmk", CMK_LOCAL_KEYS="keys.json")
    engine = shop.engine("app")
    cmk.init_app(app, engine)
    shop.base.metadata.create_all(engine)
    shop.write(engine, "4111")
    with app.app_context():
        assert shop.read(engine) == ["4111"] and cmk.keyring.count().total() == 1
        cmk.keyring.close()


def test_a_keyring_that_has_its_engine_needs_no_other(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    served = shop.keyring(shop.engine("app"))
    app = Flask("shop")
    cmk = CMK(app, served)
    with app.app_context():
        assert cmk.keyring.status() == []
    served.close()


def test_an_asynchronous_engine_serves_too(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/app.db")
    app = Flask("shop")
    cmk = CMK(app, keyring(tmp_path), engine=engine)
    with app.app_context():
        assert cmk.keyring.keys.engine() is engine.sync_engine
    cmk.keyring.close()


@pytest.mark.parametrize(
    ("served", "said"), [(False, r"call db\.init_app\(app\)"), (True, "served by a CMK already")]
)
def test_an_application_is_served_once_and_with_an_engine(tmp_path: Path, served: bool, said: str) -> None:
    app, cmk = Flask("shop"), CMK(keyring=keyring(tmp_path))
    if served:
        cmk.init_app(app, create_engine("sqlite://"))
    with pytest.raises(ConfigurationError, match=said):
        cmk.init_app(app)


def test_what_is_no_keyring_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not LocalKeyProvider"):
        CMK(keyring=Clinics(tmp_path, CMK()).provider)  # type: ignore[arg-type]


def test_applications_that_nobody_needs_any_more_are_collected(notes: Notes) -> None:
    cmk = CMK(keyring=keyring(notes.folder), tenant=lambda: "acme")
    app = notes.app("app", cmk)
    app.test_client().get("/")
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None
    cmk.keyring.close()


def test_a_task_of_a_queue_names_its_tenant(make: Callable[..., Clinics]) -> None:
    """As Celery's tasks run under Flask: in an application context of their own, far from any request."""
    clinics = make().start()
    from sqlalchemy_cmk import TenantRequired, tenant_scope

    def task(tenant: str | None) -> list[str]:
        with clinics.app.app_context(), tenant_scope(tenant):
            return names()

    assert task("acme") == NAMES["acme"]
    with pytest.raises(TenantRequired):
        task(None)
    assert Patient.__cmk_tenant__ == "clinic"


def test_without_flask_the_extension_says_what_to_install() -> None:
    code = "import sys; sys.modules['flask'] = None; from sqlalchemy_cmk.flask import CMK"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'sqlalchemy-cmk[flask]'" in done.stderr


WITHOUT_GREENLET = """
import sys
from pathlib import Path
sys.modules["greenlet"] = None
from sqlalchemy_cmk.flask import CMK
from examples.clinic import create_app, seed
seed.PATIENTS = {}
app = create_app(Path(sys.argv[1]))
print(app.test_client().get("/sign-in").status_code)
app.extensions["clinic"].close()
"""


def test_neither_the_extension_nor_the_example_needs_what_asynchronous_engines_need(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_GREENLET, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "200\n", done.stderr
