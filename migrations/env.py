"""Runs the clinic's migrations, on its database or (``--sql``) into a script.

Arguments: ``-x rate=2000`` bounds the rows that are sealed in a second, ``-x chunk=500`` the rows of one
transaction. ``-x tenant=``, ``-x kek=`` and ``-x confirm=`` are read by the migrations in ``keys``.
"""

import asyncio
from logging.config import fileConfig
from typing import Any

from alembic import context

from examples.history.keys import Storage
from examples.history.models import Base

config = context.config
storage = config.attributes.get("storage")
if storage is None:
    # From the command line: log as alembic.ini says. The application logs in its own way.
    fileConfig(config.config_file_name, disable_existing_loggers=False)
    storage = Storage.from_environment()


def ours(name: str | None, type_: str, _: Any) -> bool:
    """Leave the version tables, which Alembic makes, out of autogenerate."""
    return type_ != "table" or not str(name).startswith("alembic_version")


def run(**options: Any) -> None:
    arguments = context.get_x_argument(as_dictionary=True)
    pace = {name: int(arguments[name]) for name in ("rate", "chunk") if name in arguments}
    context.configure(
        target_metadata=Base.metadata,
        keyring=storage.keyring,
        rekey=pace,
        transaction_per_migration=True,
        version_table=config.get_main_option("version_table"),
        include_name=ours,
        **options,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_async(engine: Any) -> None:
    async with engine.connect() as connection:
        await connection.run_sync(lambda one: run(connection=one))


if context.is_offline_mode():
    run(url=storage.engine.url, literal_binds=True)
elif storage.engine.dialect.is_async:
    asyncio.run(run_async(storage.engine))
else:
    # Not engine.begin(): rows are sealed on other connections, which must not wait for this one.
    with storage.engine.connect() as connection:
        run(connection=connection)
