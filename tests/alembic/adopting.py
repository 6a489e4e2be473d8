"""A table as an application has it, of any names and any shape, sealed and opened as migrations do it."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk import EncryptedType, Keyring, tenant_scope
from sqlalchemy_cmk.databases.quoting import verbatim
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.drivers import connected, keyring_engine

TENANTS = ("acme", "globex")


class Adoption:
    """A table of two tenants with one column that is sealed and opened again.

    `run` executes the statements that give the table its shape; they are not in any model.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        table: str = "patients",
        key: str = "id",
        tenant: str = "clinic_id",
        column: str = "ssn",
        plain: TypeEngine[Any] | None = None,
        schema: str | None = None,
        nullable: bool = True,
        **options: Any,
    ) -> None:
        self.engine = create_engine(url)
        self.plain = plain or String(11)
        self.sealed = EncryptedType(self.plain, **options)
        self.nullable = nullable
        self.names = (table, key, tenant, column)
        self.schema = schema
        self.metadata = MetaData()
        self.table = self._model(self.metadata, self.sealed)
        provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(
            keyring_engine(self.engine),
            platform_key="local:pmk",
            providers=[provider],
            revalidate_after=0.2,
            outage_grace=0.2,
        )
        self.keyring.protect(self.metadata)

    def _model(self, metadata: MetaData, type_: TypeEngine[Any]) -> Table:
        table, key, tenant, column = self.names
        return Table(
            table,
            metadata,
            Column(key, Integer, primary_key=True, autoincrement=False),
            Column(tenant, String(40), nullable=False),
            Column(column, type_, nullable=self.nullable),
            schema=self.schema,
            info={"cmk_tenant": tenant},
        )

    @property
    def plain_table(self) -> Table:
        """The table as a version of the application knows it that seals nothing."""
        return self._model(MetaData(), self.plain)

    def create(self, *statements: str) -> None:
        """Make the key tables, and the table: by these statements, or as the model has it."""
        keys = [one for one in self.metadata.sorted_tables if one is not self.table]
        self.metadata.create_all(self.engine, tables=keys)
        if statements:
            self.run(*statements)
        else:
            self.plain_table.create(self.engine)

    def run(self, *statements: str) -> None:
        """Execute statements, each committed by itself."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for one in statements:
                connection.execute(verbatim(one))

    def reconnect(self) -> None:
        """End every connection: those that follow begin with the server's settings as they are now."""
        self.engine.dispose()
        self.keyring.connections.close()

    def fill(self, count: int = 20) -> None:
        """Write plain rows of two tenants."""
        _, key, tenant, column = self.names
        rows = [{key: i, tenant: TENANTS[i % 2], column: f"078-05-{i:04}"} for i in range(1, count + 1)]
        with self.engine.begin() as connection:
            connection.execute(insert(self.plain_table), rows)

    def stored(self) -> list[tuple[Any, ...]]:
        """Every row as the database has it."""
        plain = self.plain_table
        with self.engine.connect() as connection:
            query = select(plain).order_by(plain.c[self.names[1]])
            return [tuple(row) for row in connection.execute(query)]

    def opened(self) -> list[tuple[Any, ...]]:
        """Every row as its tenant reads it."""
        _, _, tenant, _ = self.names
        found: list[tuple[Any, ...]] = []
        with self.engine.connect() as connection:
            for one in TENANTS:
                with tenant_scope(one):
                    query = select(self.table).where(self.table.c[tenant] == one)
                    found += [tuple(row) for row in connection.execute(query)]
        return sorted(found)

    def migrate(self, step: Callable[[Any], Any], **options: Any) -> None:
        """Do what a migration does around its operations."""
        connected(self.engine, self.migration(step, **options))

    def migration(self, step: Callable[[Any], Any], **options: Any) -> Callable[[Connection], None]:
        """What `env.py` runs on a connection for a migration of these operations."""

        def run(connection: Connection) -> None:
            opts = {"keyring": self.keyring, "target_metadata": self.metadata, "rekey": {"rate": None}}
            opts |= {"transaction_per_migration": True, **options}
            context = MigrationContext.configure(connection, opts=opts)
            with context.begin_transaction(_per_migration=True):
                step(Operations(context))

        return run

    def seal(self, **options: Any) -> None:
        """Run `op.encrypt_column`."""
        self.migrate(lambda op: self.sealing(op, **options))

    def open(self, **options: Any) -> None:
        """Run `op.decrypt_column`."""
        self.migrate(lambda op: self.opening(op, **options))

    def script(self, **options: Any) -> str:
        """Return what `--sql` writes for `op.encrypt_column`."""
        out = io.StringIO()
        opts = {"keyring": self.keyring, "target_metadata": self.metadata, "as_sql": True}
        opts |= {"output_buffer": out, "literal_binds": True, "transaction_per_migration": True}
        url = self.engine.url.render_as_string(hide_password=False)
        context = MigrationContext.configure(url=url, opts=opts, **options)
        with context.begin_transaction(_per_migration=True):
            self.sealing(Operations(context))
        return out.getvalue()

    def sealing(self, op: Any, **options: Any) -> None:
        """The migration that seals the column."""
        op.encrypt_column(self.names[0], self.names[3], self.sealed, **self._given(self.plain) | options)

    def opening(self, op: Any, **options: Any) -> None:
        """The migration that opens it again."""
        op.decrypt_column(self.names[0], self.names[3], self.plain, **self._given(self.sealed) | options)

    def _given(self, existing: TypeEngine[Any]) -> dict[str, Any]:
        given = {"existing_type": existing, "existing_nullable": self.nullable}
        return {**given, "tenant_column": self.names[2], "schema": self.schema}


@contextmanager
def adoption(url: str, folder: Path, **options: Any) -> Iterator[Adoption]:
    """An adoption, closed afterwards."""
    made = Adoption(url, folder, **options)
    try:
        yield made
    finally:
        made.keyring.close()
        made.engine.dispose()
