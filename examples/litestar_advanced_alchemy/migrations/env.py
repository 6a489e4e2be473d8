from alembic import context

from examples.litestar_advanced_alchemy.app import Patient, keyring

config = context.config  # advanced-alchemy's: it knows the engine and the name of the version table
with config.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Patient.metadata,
        keyring=keyring,
        version_table=config.version_table_name,
    )
    with context.begin_transaction():
        context.run_migrations()
