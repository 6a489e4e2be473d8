"""A table with sealed columns, a keyring over it, and a clock that the test moves."""

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, select, text

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.keys.model import Purpose
from tests.support.drivers import keyring_engine
from tests.support.providers import CountingProvider


class World:
    """Notes of many tenants on a database, with a clock that the test moves.

    Another process, or another keyring of this one, takes part by `World(url, folder)` over the same two.
    """

    def __init__(self, url: str, folder: Path, engine: Engine | None = None, **options: Any) -> None:
        self.url, self.folder = url, folder
        self.engine = engine or create_engine(url)
        self.metadata = MetaData()
        self.notes = self._table("notes", EncryptedType(String(40)))
        self.codes = self._table("codes", EncryptedType(String(40), deterministic=True))
        self.now = 1000.0
        self.provider = CountingProvider(folder / "keys.json")
        self.keyring = self.new_keyring(**options)
        self.keyring.protect(self.metadata)

    def new_keyring(self, **options: Any) -> Keyring:
        """A keyring on the same engine, provider and clock, that protects nothing yet.

        Proofs come when the test moves the clock past a deadline, and not in the background before. It looks
        for locks when the test asks.
        """
        standard = {"platform_key": "local:pmk", "providers": [self.provider], "revalidation_jitter": 0}
        standard |= {"refresh_ahead": False, "lock_check": 10**9}
        return Keyring(keyring_engine(self.engine), **{**standard, "clock": lambda: self.now, **options})

    def restart(self, **options: Any) -> None:
        """Go on as a new process would: with nothing open, nothing connected and nothing counted."""
        self.keyring.close()
        self.keyring = self.new_keyring(**options)
        self.keyring.protect(self.metadata)
        self.provider.calls.clear()

    def create(self) -> "World":
        self.metadata.create_all(self.engine)
        return self

    def write(self, owner: str, *texts: str, table: Table | None = None) -> None:
        """Write notes of a tenant, or codes, whose column is deterministic."""
        with self.engine.begin() as connection:
            statement = (self.notes if table is None else table).insert()
            connection.execute(statement, [{"owner": owner, "text": one} for one in texts])

    def read(self, *owners: str, table: Table | None = None) -> list[str]:
        """The texts in order, of these tenants or of all."""
        columns = (self.notes if table is None else table).c
        query = select(columns.owner, columns.text).order_by(columns.id)
        if owners:
            query = query.where(columns.owner.in_(owners))
        with self.engine.connect() as connection:
            return [row.text for row in connection.execute(query)]

    def raw(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def execute(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql))

    def active(self, tenant: str, purpose: Purpose = Purpose.RANDOMIZED) -> bytes:
        """The id of the DEK under which a tenant's new values are sealed."""
        return self.keyring.active(tenant, purpose).id

    def open_deks(self, tenant: str) -> int:
        return next((line.open for line in self.keyring.status() if line.tenant == tenant), 0)

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()

    def _table(self, name: str, sealed: EncryptedType) -> Table:
        columns = (
            Column("id", Integer, primary_key=True),
            Column("owner", String(40)),
            Column("text", sealed),
        )
        return Table(name, self.metadata, *columns, info={"cmk_tenant": "owner"})
