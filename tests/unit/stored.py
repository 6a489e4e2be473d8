"""One sealed column of a tenants' table as a fetch meets it, without rows: stored bytes in, values out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CHAR, Column, Integer, MetaData, String, Table, create_engine

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.columns.presealed import strip
from sqlalchemy_cmk.columns.reading import ColumnReader, Owners
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.columns.writing import ColumnWriter
from tests.support.databases import Database
from tests.support.providers import CountingProvider


class StoredTenants:
    """The column ``patients.ssn``, whose tenant column is a padded CHAR; each tenant has a KEK."""

    def __init__(self, url: str, folder: Path, tenants: tuple[str, ...], declared: Any, options: Any) -> None:
        metadata = MetaData()
        sealed = Column("ssn", EncryptedType(declared, **options))
        plain = Column("id", Integer, primary_key=True), Column("clinic", CHAR(9))
        self.table = Table("patients", metadata, *plain, sealed, info={"cmk_tenant": "clinic"})
        self.engine = create_engine(url)
        self.provider = CountingProvider(folder / "keys.json")
        self.keyring = Keyring(self.engine, platform_key="local:pmk", providers=[self.provider])
        self.keyring.protect(metadata)
        metadata.create_all(self.engine)
        for tenant in tenants:
            self.keyring.assign(tenant, f"local:{tenant}")
        self.column = sealed.type.sealed_column
        self.asked: list[Any] = []

    def seal(self, value: Any, tenant: str, identity: bytes = b"") -> bytes:
        return strip(ColumnWriter(self.column, self.keyring.keys).seal(value, tenant, identity))

    def reader(self) -> ColumnReader:
        reader = ColumnReader(self.column, self.keyring.keys)
        reader.end()
        return reader

    def rows(self, *held: Any) -> Owners:
        """The owners of rows whose tenant column holds these values, as the driver gives them."""
        source = tenant_source(self.table)
        assert source is not None
        name = source.reader(self.engine.dialect)

        def owner(raw: Any) -> str:
            self.asked.append(raw)
            return "" if raw in (None, "") else name(raw)

        return Owners(owner, held, row_says=True)

    def read(self, values: list[Any], *held: Any, identities: list[bytes] | None = None) -> list[Any]:
        return list(self.reader().read(values, self.rows(*held), identities))

    def revoke(self, tenant: str) -> None:
        self.provider.disable(f"local:{tenant}")
        self.keyring.forget()

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture
def stored(sqlite_database: Database, tmp_path: Path) -> Iterator[Callable[..., StoredTenants]]:
    """Makes such a column with options of its type."""
    made: list[StoredTenants] = []

    def make(declared: Any = None, **options: Any) -> StoredTenants:
        url = f"{sqlite_database.url}-{len(made)}"
        tenants = ("acme", "globex", "umbrella")
        made.append(StoredTenants(url, tmp_path, tenants, declared or String(20), options))
        return made[-1]

    yield make
    for one in made:
        one.close()
