"""A keyring over a fresh database, for models that a test declares itself."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Session

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database


class Vault:
    """An engine, a declarative base and a keyring that protects it."""

    def __init__(self, url: str, folder: Path, **options: Any) -> None:
        self.base: Any = type("Base", (DeclarativeBase,), {})
        self.engine: Engine = create_engine(url)
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.options = options
        self.keyring = self.new_keyring()

    def new_keyring(self) -> Keyring:
        keyring = Keyring(self.engine, platform_key="local:pmk", providers=[self.provider], **self.options)
        keyring.protect(self.base)
        return keyring

    def restart(self) -> None:
        """Go on as another process would: with nothing open."""
        self.keyring.close()
        self.keyring = self.new_keyring()

    def create(self) -> None:
        self.base.metadata.create_all(self.engine)

    def session(self) -> Session:
        return Session(self.engine)

    def raw(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def owner(self, stored: Any) -> str:
        """The tenant under whose DEK a stored value is sealed."""
        dek = self.keyring.dek(bytes(stored)[1:9])
        assert dek is not None
        return dek.tenant

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Iterator[Vault]:
    """A vault on each database in turn."""
    vault = Vault(database.url, tmp_path)
    yield vault
    vault.close()


@pytest.fixture
def make_vault(sqlite_database: Database, tmp_path: Path) -> Iterator[Callable[..., Vault]]:
    """Makes vaults on SQLite, for tests that need one database only; options are the keyring's."""
    made: list[Vault] = []

    def make(**options: Any) -> Vault:
        made.append(Vault(f"{sqlite_database.url}-{len(made)}", tmp_path, **options))
        return made[-1]

    yield make
    for vault in made:
        vault.close()
