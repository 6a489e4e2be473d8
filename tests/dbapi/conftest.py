"""Two protected tables and a plain one on each database, with a driver's own connection to it."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import JSON, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.dbapi import Connection, wrap
from tests.support.vault import Vault, make_vault, vault

__all__ = ["make_vault", "vault"]


class Clinic:
    """The models, and connections of the driver's own."""

    def __init__(self, vault: Vault) -> None:
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
        self._made: list[Any] = []
        vault.create()
        # On SQLite a transaction that writes leaves no other connection to make a key.
        vault.keyring.warm(["acme", "globex", ""], ["randomized", "deterministic", "search"])

    def connect(self) -> Any:
        """A connection of the driver's own."""
        dialect = self.vault.engine.dialect
        args, options = dialect.create_connect_args(self.vault.engine.url)
        self._made.append(dialect.loaded_dbapi.connect(*args, **options))
        return self._made[-1]

    def wrapped(self) -> Connection:
        return wrap(self.connect(), self.vault.keyring, self.vault.base)

    def mark(self, statement: str) -> str:
        """A statement with the driver's own parameters in the places of question marks."""
        return statement if self.vault.engine.name == "sqlite" else statement.replace("?", "%s")

    def close(self) -> None:
        for one in self._made:
            one.close()


@pytest.fixture
def clinic(vault: Vault) -> Iterator[Clinic]:
    clinic = Clinic(vault)
    yield clinic
    clinic.close()
