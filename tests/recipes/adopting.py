"""What every recipe's test does: fill the plain table, write the migration that seals it, run it, and ask."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, text

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENTS = [
    {"clinic_id": "hillside", "name": "Ben", "ssn": "078-05-1121"},
    {"clinic_id": "hillside", "name": "Ann", "ssn": "078-05-1120"},
    {"clinic_id": "riverside", "name": "Eve", "ssn": "078-05-1122"},
]
INSERT = text("INSERT INTO patients (clinic_id, name, ssn) VALUES (:clinic_id, :name, :ssn)")
STORED = text("SELECT name, ssn FROM patients ORDER BY id")


def migrations(recipe: str, folder: Path) -> Path:
    """A copy of a recipe's migrations, into which more are written."""
    return Path(shutil.copytree(EXAMPLES / recipe / "migrations", folder / "migrations"))


def adopt(url: str, upgrade: Callable[[], Any], seal: Callable[[], Any]) -> None:
    """Do what the README says, and look at what the database holds before and after.

    Args:
        url: the database, for another engine than the application's.
        upgrade: the framework's command that runs migrations.
        seal: its command that writes one.
    """
    engine = create_engine(url, poolclass=NullPool)

    def stored() -> list[Any]:
        with engine.connect() as connection:
            return [value for row in connection.execute(STORED) for value in row]

    secrets = [one[key] for one in PATIENTS for key in ("name", "ssn")]
    upgrade()
    with engine.begin() as connection:
        connection.execute(INSERT, PATIENTS)
    assert stored() == secrets
    seal()
    upgrade()
    sealed = list(map(bytes, stored()))
    assert len(sealed) == len(secrets)
    assert not any(secret.encode() in value for value in sealed for secret in secrets)


def adopt_by_alembic(recipe: str, folder: Path, url: str) -> None:
    """Adopt a recipe's table by Alembic's own commands, and find nothing left to do."""
    config = Config(EXAMPLES / recipe / "alembic.ini")
    config.set_main_option("script_location", str(migrations(recipe, folder)))
    adopt(
        url,
        lambda: command.upgrade(config, "head"),
        lambda: command.revision(config, "seal", autogenerate=True),
    )
    command.check(config)


class Clinic:
    """A clinic's user: sends requests, and gives back the status and the JSON.

    Args:
        client: the framework's own test client.
        name: the clinic.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._headers = {"X-Clinic": name}

    def get(self, path: str) -> tuple[int, Any]:
        return _parts(self._client.get(path, headers=self._headers))

    def post(self, path: str, data: object) -> tuple[int, Any]:
        return _parts(self._client.post(path, headers=self._headers, json=data))


def _parts(answer: Any) -> tuple[int, Any]:
    return answer.status_code, answer.json() if callable(answer.json) else answer.json


def names(answer: tuple[int, Any]) -> list[str]:
    """The names in an answer."""
    return [one["name"] for one in answer[1]]


def use(recipe: Any, client: Any) -> None:
    """Ask as two clinics, and have one of them switch its key off."""
    hillside, riverside = Clinic(client, "hillside"), Clinic(client, "riverside")
    assert names(hillside.get("/patients")) == ["Ann", "Ben"]
    assert names(hillside.get("/patients?ssn=078-05-1121")) == ["Ben"]
    assert riverside.get("/patients?ssn=078-05-1121") == (200, [])
    status, made = riverside.post("/patients", {"name": "Eli", "ssn": "078-05-1123"})
    assert status == 201
    path = f"/patients/{made['id']}"
    assert riverside.get(path)[1]["name"] == "Eli"
    assert hillside.get(path)[0] == 404
    assert client.get("/patients").status_code in (401, 422)
    recipe.keyring.assign("riverside", "local:riverside")
    recipe.keys.disable("local:riverside")
    recipe.keyring.forget()
    assert riverside.get("/patients")[0] == 403
    assert hillside.get("/patients")[0] == 200
