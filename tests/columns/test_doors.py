"""A single value is sealed and opened by hand with the checks that a statement would make."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import String, insert, select, text
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    InvalidValue,
    KeyRevoked,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    sealed_columns,
    tenant_scope,
)
from tests.hooks.notes import Notes
from tests.support.vault import Vault


@pytest.fixture
def vault(make_vault: Callable[..., Vault]) -> Vault:
    return make_vault()


@pytest.fixture
def notes(vault: Vault) -> Notes:
    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(20))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        origin: Mapped[str | None] = mapped_column(EncryptedType(String(40), owner="platform"))

    notes = Notes(vault)
    notes.Person = Person
    vault.create()
    return notes


def test_what_is_sealed_by_hand_is_what_a_statement_reads(vault: Vault, notes: Any) -> None:
    sealed = vault.keyring.seal(notes.Visit.ssn, "078-05-1120", tenant="acme")
    with vault.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO visits (id, public_id, clinic, ssn) VALUES (1, :key, 'acme', :ssn)"),
            {"key": "0" * 32, "ssn": sealed},
        )
        table = notes.Visit.__table__
        assert connection.scalar(select(table.c.ssn).where(table.c.clinic == "acme")) == "078-05-1120"


def test_what_a_statement_seals_opens_by_hand(vault: Vault, notes: Any) -> None:
    with vault.engine.begin() as connection:
        connection.execute(insert(notes.Person), [{"clinic": "acme", "email": f"{i}@x"} for i in range(3)])
    stored = [row[0] for row in vault.raw("SELECT email FROM people ORDER BY id")]
    assert vault.keyring.open_all(notes.Person.email, stored, tenant="acme") == ["0@x", "1@x", "2@x"]
    assert vault.keyring.seal(notes.Person.email, "1@x", tenant="acme") == stored[1]


def test_nulls_stay_nulls(vault: Vault, notes: Any) -> None:
    assert vault.keyring.seal_all(notes.Person.email, [None, None], tenant="acme") == [None, None]
    assert vault.keyring.open_all(notes.Person.__table__.c.email, [None], tenant="acme") == [None]


def test_the_scope_names_the_owner_and_has_to_agree(vault: Vault, notes: Any) -> None:
    keyring, column = vault.keyring, notes.Visit.ssn
    with pytest.raises(TenantRequired):
        keyring.seal(column, "1")
    with tenant_scope("acme"):
        sealed = keyring.seal(column, "1")
        assert keyring.open(column, sealed) == "1"
        with pytest.raises(TenantMismatch):
            keyring.seal(column, "1", tenant="globex")
        with pytest.raises(TenantMismatch):
            keyring.open(column, sealed, tenant="globex")
    keyring.seal(column, "2", tenant="globex")
    with pytest.raises(TenantMismatch):
        keyring.open(column, sealed, tenant="globex")


def test_values_of_the_platform_take_no_tenant(vault: Vault, notes: Any) -> None:
    sealed = vault.keyring.seal(notes.Person.origin, "clinic A")
    assert vault.keyring.open(notes.Person.origin, sealed) == "clinic A"
    with pytest.raises(TenantMismatch):
        vault.keyring.open(notes.Person.origin, sealed, tenant="acme")


def test_a_value_of_another_column_does_not_open(vault: Vault, notes: Any) -> None:
    sealed = vault.keyring.seal(notes.Visit.ssn, "1", tenant="acme")
    with pytest.raises(TamperedError):
        vault.keyring.open(notes.Person.email, sealed, tenant="acme")
    with pytest.raises(TamperedError):
        vault.keyring.open(notes.Visit.ssn, b"plain", tenant="acme")


def test_a_row_bound_value_needs_its_row(vault: Vault, notes: Any) -> None:
    keyring, column = vault.keyring, notes.Note.text
    with pytest.raises(UnsupportedOperation, match=r"row=\{'id'"):
        keyring.seal(column, "x", tenant="acme")
    with pytest.raises(UnsupportedOperation, match="'id'"):
        keyring.seal(column, "x", tenant="acme", row={"no": 1})
    with pytest.raises(InvalidValue):
        keyring.seal(column, "x", tenant="acme", row={"id": None})
    sealed = keyring.seal(column, "x", tenant="acme", row={"id": 1})
    assert keyring.open(column, sealed, tenant="acme", row={"id": 1}) == "x"
    with pytest.raises(TamperedError):
        keyring.open(column, sealed, tenant="acme", row={"id": 2})


def test_a_revoked_key_neither_seals_nor_opens(vault: Vault, notes: Any) -> None:
    vault.provider.ensure("local:acme")
    vault.keyring.assign("acme", "local:acme")
    sealed = vault.keyring.seal(notes.Visit.ssn, "1", tenant="acme")
    vault.provider.disable("local:acme")
    vault.keyring.forget("acme")
    with pytest.raises(KeyRevoked):
        vault.keyring.open(notes.Visit.ssn, sealed, tenant="acme")
    with pytest.raises(KeyRevoked):
        vault.keyring.seal(notes.Visit.ssn, "1", tenant="acme")


@pytest.mark.parametrize("column", ["title", "clinic"])
def test_a_column_that_is_not_sealed_is_refused(vault: Vault, notes: Any, column: str) -> None:
    with pytest.raises(ConfigurationError, match="sealed column"):
        vault.keyring.seal(getattr(notes.Note, column), "x", tenant="acme")


def test_a_keyring_that_does_not_protect_the_column_is_refused(
    make_vault: Callable[..., Vault], notes: Any
) -> None:
    with pytest.raises(ConfigurationError, match="protect"):
        make_vault().keyring.seal(notes.Visit.ssn, "x", tenant="acme")


def test_the_sealed_columns_of_a_model_are_listed(notes: Any) -> None:
    assert sealed_columns(notes.Person) == (notes.Person.email, notes.Person.origin)
    assert [one.name for one in sealed_columns(notes.Note.__table__)] == ["text", "data"]
    with pytest.raises(ConfigurationError):
        sealed_columns("people")
