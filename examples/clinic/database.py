"""Brings the database to the newest schema with the clinic's migrations."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import inspect

from examples.clinic.keys import Storage

INI = Path(__file__).parents[2] / "alembic.ini"


class OldData(Exception):
    """The data folder was filled before the clinic had migrations."""


def migrate(storage: Storage) -> None:
    """Upgrade to the newest revision; on an empty database that makes the tables."""
    tables = inspect(storage.engine).get_table_names()
    if "patients" in tables and "alembic_version" not in tables:
        raise OldData(
            f"{storage.engine.url} was made by a version of this example that had no migrations. "
            "Its patients are invented: remove the data folder, or name another one with --data"
        )
    config = Config(INI)
    config.attributes["storage"] = storage
    command.upgrade(config, "head")
