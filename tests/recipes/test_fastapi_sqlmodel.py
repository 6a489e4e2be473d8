"""The recipe for FastAPI and SQLModel."""

from pathlib import Path

import pytest

from tests.recipes.adopting import adopt_by_alembic, use


def test_a_table_is_adopted_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/clinics.db"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("KEYS", f"{tmp_path}/keys.json")
    from fastapi.testclient import TestClient

    from examples.fastapi_sqlmodel import app as recipe

    adopt_by_alembic("fastapi_sqlmodel", tmp_path, url)
    use(recipe, TestClient(recipe.app))
    recipe.keyring.close()
    recipe.engine.dispose()
