"""Flask-SQLAlchemy's ``SQLALCHEMY_BINDS``: each model's rows and keys are in its own database."""

from pathlib import Path

import pytest
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.keys.binding.shop import deks


def test_each_bind_has_keys_of_its_own(tmp_path: Path) -> None:
    flask, extension = pytest.importorskip("flask"), pytest.importorskip("flask_sqlalchemy")

    class Base(DeclarativeBase):
        pass

    db = extension.SQLAlchemy(model_class=Base)

    class Note(db.Model):  # type: ignore[name-defined,misc]
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = mapped_column(String(40))
        text: Mapped[str] = mapped_column(EncryptedType(String(40)))

    class Visit(db.Model):  # type: ignore[name-defined,misc]
        __bind_key__ = "archive"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = mapped_column(String(40))
        text: Mapped[str] = mapped_column(EncryptedType(String(40)))

    app = flask.Flask("clinic")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.db"
    app.config["SQLALCHEMY_BINDS"] = {"archive": f"sqlite:///{tmp_path}/archive.db"}
    db.init_app(app)
    keyring = Keyring(platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.init_app(app)
    with app.app_context():
        db.create_all()
        keyring.assign("acme", "local:acme")
        keyring.for_engine(db.engines["archive"]).assign("acme", "local:archive")
        db.session.add_all([Note(owner="acme", text="one"), Visit(owner="acme", text="two")])
        db.session.commit()
        keyring.for_engine(db.engines["archive"]).forget()
        assert db.session.scalars(select(Note)).one().text == "one"
        assert db.session.scalars(select(Visit)).one().text == "two"
        assert not deks(db.engine) & deks(db.engines["archive"]) and deks(db.engine)
        keks = [line.kek_uri for line in keyring.for_engine(db.engines["archive"]).status()]
        assert keks == ["local:archive"]
        for engine in db.engines.values():
            engine.dispose()
    keyring.close()
