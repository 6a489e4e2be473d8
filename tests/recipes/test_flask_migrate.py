"""The recipe for Flask-SQLAlchemy and Flask-Migrate, and two databases with them."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.flask import CMK
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.recipes.adopting import adopt, migrations, use


def test_a_table_is_adopted_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/clinics.db"
    monkeypatch.setenv("KEYS", f"{tmp_path}/keys.json")
    import flask_migrate

    from examples.flask_migrate import app as recipe

    folder = str(migrations("flask_migrate", tmp_path))
    app = recipe.create_app(url)
    with app.app_context():
        adopt(url, lambda: flask_migrate.upgrade(folder), lambda: flask_migrate.migrate(folder, "seal"))
        flask_migrate.check(folder)
        use(recipe, app.test_client())
    recipe.keyring.close()


def test_two_databases_are_adopted_by_the_template_for_several(tmp_path: Path) -> None:
    """``SQLALCHEMY_BINDS``, with the two changes to the template that docs/migrations.md names."""
    import flask
    import flask_migrate
    from flask_sqlalchemy import SQLAlchemy

    keyring = Keyring(platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    databases = {None: "note", "archive": "visit"}

    def make(type_: Any) -> Any:
        class Base(DeclarativeBase):
            pass

        db = SQLAlchemy(model_class=Base)

        class Note(db.Model):  # type: ignore[name-defined,misc]
            __cmk_tenant__ = None
            id: Mapped[int] = mapped_column(primary_key=True)
            text: Mapped[str] = mapped_column(type_())

        class Visit(db.Model):  # type: ignore[name-defined,misc]
            __bind_key__ = "archive"
            __cmk_tenant__ = None
            id: Mapped[int] = mapped_column(primary_key=True)
            text: Mapped[str] = mapped_column(type_())

        app = flask.Flask("clinic")
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.db"
        app.config["SQLALCHEMY_BINDS"] = {"archive": f"sqlite:///{tmp_path}/archive.db"}
        db.init_app(app)
        CMK(app, keyring)
        flask_migrate.Migrate(app, db, keyring=keyring, transaction_per_migration=True)
        return app, db

    def stored(db: Any) -> list[Any]:
        found = []
        for bind, table in databases.items():
            with db.engines[bind].connect() as connection:
                found.append(connection.scalar(text(f"SELECT text FROM {table}")))
        return found

    folder = str(tmp_path / "migrations")
    app, db = make(lambda: String(40))
    with app.app_context():
        flask_migrate.init(folder, multidb=True)
        env, begin = tmp_path / "migrations" / "env.py", "rec['transaction'] = conn"
        env.write_text(env.read_text().replace(f"{begin}.begin()", begin))
        flask_migrate.migrate(folder, "plain")
        flask_migrate.upgrade(folder)
        for bind, table in databases.items():
            with db.engines[bind].begin() as connection:
                connection.execute(text(f"INSERT INTO {table} (text) VALUES ('{table}')"))
    app, db = make(lambda: EncryptedType(String(40)))
    with app.app_context():
        flask_migrate.migrate(folder, "seal")
        flask_migrate.upgrade(folder)
        assert all(isinstance(one, bytes) and one[0] == 1 for one in stored(db))
        flask_migrate.downgrade(folder)
        assert stored(db) == ["note", "visit"]
    keyring.close()
