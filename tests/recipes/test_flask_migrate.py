"""The recipe for Flask-SQLAlchemy and Flask-Migrate."""

from pathlib import Path

import pytest

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
