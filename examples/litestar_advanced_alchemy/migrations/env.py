import asyncio

from alembic import context
from sqlalchemy import Connection

from examples.litestar_advanced_alchemy.app import Patient, keyring

config = context.config  # advanced-alchemy's: it knows the engine and the name of the version table


def run_migrations(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Patient.metadata,
        keyring=keyring,
        version_table=config.version_table_name,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run() -> None:
    async with config.engine.connect() as connection:
        await connection.run_sync(run_migrations)
    await config.engine.dispose()


asyncio.run(run())
