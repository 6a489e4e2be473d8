"""The recipe for FastAPI and asyncpg."""

from pathlib import Path

import pytest

from tests.recipes.adopting import adopt_by_alembic, use
from tests.support.databases import Database


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_table_is_adopted_and_served(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", str(database.async_url))
    monkeypatch.setenv("KEYS", f"{tmp_path}/keys.json")
    from fastapi.testclient import TestClient

    from examples.fastapi_asyncpg import app as recipe

    adopt_by_alembic("fastapi_asyncpg", tmp_path, database.url)
    with TestClient(recipe.app) as client:
        use(recipe, client)
