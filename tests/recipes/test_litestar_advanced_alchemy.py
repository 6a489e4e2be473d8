"""The recipe for Litestar and advanced-alchemy."""

from pathlib import Path

import pytest

from tests.recipes.adopting import adopt, migrations, use


def test_a_table_is_adopted_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/clinics.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{path}")
    monkeypatch.setenv("KEYS", f"{tmp_path}/keys.json")
    monkeypatch.setenv("MIGRATIONS", str(migrations("litestar_advanced_alchemy", tmp_path)))
    from advanced_alchemy.alembic.commands import AlembicCommands
    from litestar.testing import TestClient

    from examples.litestar_advanced_alchemy import app as recipe

    commands = AlembicCommands(recipe.config)
    adopt(f"sqlite:///{path}", commands.upgrade, lambda: commands.revision("seal", autogenerate=True))
    commands.check()
    with TestClient(recipe.app) as client:
        use(recipe, client)
