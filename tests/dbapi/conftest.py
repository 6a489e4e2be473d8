"""Two protected tables and a plain one on each database, with a driver's own connection to it."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import JSON, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType
from tests.conftest import empty_database
from tests.dbapi.drivers import KINDS, SYNC, Driver
from tests.support.databases import Database
from tests.support.vault import Vault, make_vault, vault

__all__ = ["make_vault", "vault"]


class Clinic:
    """The models, and connections of the driver's own."""

    def __init__(self, vault: Vault, driver: str = "") -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
            clinic: Mapped[str] = mapped_column(String(20))
            ssn: Mapped[str | None] = mapped_column(EncryptedType(String(20)))
            email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
            title: Mapped[str | None] = mapped_column(String(20))

        class Note(vault.base):
            __tablename__ = "notes"
            __cmk_tenant__ = None
            id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
            text: Mapped[Any | None] = mapped_column(EncryptedType(JSON, row_bound=True))

        class Place(vault.base):
            __tablename__ = "places"
            id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
            name: Mapped[str | None] = mapped_column(String(40))

        self.Patient, self.Note, self.Place = Patient, Note, Place
        self.vault = vault
        self.driver = Driver(vault, driver or vault.engine.name)
        vault.create()
        # On SQLite a transaction that writes leaves no other connection to make a key.
        vault.keyring.warm(["acme", "globex", ""], ["randomized", "deterministic", "search"], new=True)

    def connect(self) -> Any:
        """A connection of the driver's own."""
        return self.driver.connect()

    def wrapped(self) -> Any:
        return self.driver.wrapped()

    def mark(self, statement: str) -> str:
        """A statement with the driver's own parameters in the places of question marks."""
        return self.driver.mark(statement)

    def close(self) -> None:
        self.driver.close()


@pytest.fixture(params=SYNC)
def driver(request: pytest.FixtureRequest) -> str:
    """The driver of wrapped connections."""
    return str(request.param)


@pytest.fixture
def database(request: pytest.FixtureRequest, driver: str) -> Iterator[Database]:
    """An empty database of the driver's kind."""
    yield from empty_database(request, KINDS.get(driver, driver))


@pytest.fixture
def clinic(vault: Vault, driver: str) -> Iterator[Clinic]:
    clinic = Clinic(vault, driver)
    yield clinic
    clinic.close()
