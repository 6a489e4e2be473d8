import asyncio

from alembic import context
from sqlalchemy import Connection

from examples.fastapi_asyncpg.app import Base, engine, keyring


def run_migrations(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, keyring=keyring)
    with context.begin_transaction():
        context.run_migrations()


async def run() -> None:
    async with engine.connect() as connection:
        await connection.run_sync(run_migrations)
    await engine.dispose()


asyncio.run(run())
