from alembic import context
from sqlmodel import SQLModel

from examples.fastapi_sqlmodel.app import engine, keyring

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, keyring=keyring)
    with context.begin_transaction():
        context.run_migrations()
