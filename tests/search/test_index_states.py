"""A process writes and asks the hidden columns that the database says it should, seconds after it says so."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.orm import Mapped, aliased, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.columns.token_columns import token_indexes
from sqlalchemy_cmk.keys.indexes import catalogue
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.runtime.clock import this_second, utc_now
from sqlalchemy_cmk.search import Exact
from tests.support.vault import Vault


class Clinic:
    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            email: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=[Exact()]))
            phone: Mapped[str | None] = mapped_column(EncryptedType(String(40)))

        self.vault, self.Patient = vault, Patient
        vault.create()
        with vault.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE patients ADD email_exact__2 BLOB")
            connection.exec_driver_sql("DELETE FROM cmk_indexes")  # as if made before there was a keyring

    def stored(self, slot: int = 0, state: IndexState = IndexState.READY) -> StoredIndex:
        (one,) = token_indexes(self.Patient.__table__)["email"]
        purpose = (Purpose.SEARCH, Purpose.SEARCH_2)[slot]
        hidden, now = one.keys[slot], this_second()
        return StoredIndex(
            *("", "patients", hidden, "email", "exact", slot, state, purpose, one.fingerprint, "{}", now, now)
        )

    def record(self, *stored: StoredIndex) -> None:
        """As another process does."""
        with self.vault.engine.begin() as connection:
            other = catalogue.IndexCatalogue(self.vault.keyring.database, lambda: 0.0)
            other.record(connection, stored)

    def add(self, id_: int, email: str) -> None:
        with self.vault.session() as session, session.begin():
            session.add(self.Patient(id=id_, clinic="acme", email=email))

    def found(self, email: str, patient: Any = None) -> list[int]:
        who = patient or self.Patient
        with self.vault.session() as session:
            return list(session.scalars(select(who.id).where(who.clinic == "acme", who.email == email)))

    def tokens(self, id_: int) -> tuple[Any, ...]:
        return self.vault.raw(f"SELECT email_exact, email_exact__2 FROM patients WHERE id = {id_}")[0]


@pytest.fixture
def clinic(make_vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.0)
    return Clinic(make_vault())


@pytest.mark.parametrize("state", [IndexState.BUILDING, IndexState.FILLING])
def test_an_index_that_is_being_built_is_written_and_not_asked(clinic: Clinic, state: IndexState) -> None:
    clinic.add(1, "a@b")
    assert clinic.found("a@b") == [1]
    clinic.record(clinic.stored(state=state))
    clinic.add(2, "a@b")
    with pytest.raises(UnsupportedOperation, match=r"is being built.*cmk rekey indexes --build"):
        clinic.found("a@b")
    clinic.record(clinic.stored())
    assert clinic.found("a@b") == [1, 2]


def test_an_index_that_another_table_has_as_well_is_asked_while_that_table_is_there(clinic: Clinic) -> None:
    clinic.add(1, "a@b")
    clinic.record(replace(clinic.stored(state=IndexState.FILLING), table="others"))
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE others (id INTEGER)")
    assert clinic.found("a@b") == [1]
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE others")
    with pytest.raises(UnsupportedOperation, match="'exact' was filling when it was renamed"):
        clinic.found("a@b")
    clinic.record(replace(clinic.stored(), table="others"))
    assert clinic.found("a@b") == [1]


def test_both_columns_of_an_index_are_written_while_its_keys_are_rotated(clinic: Clinic) -> None:
    clinic.add(1, "a@b")
    clinic.record(clinic.stored(), clinic.stored(1, IndexState.BUILDING))
    clinic.add(2, "a@b")
    old, new = clinic.tokens(2)
    assert old == clinic.tokens(1)[0]
    assert len(new) == 16 and new != old
    assert clinic.found("a@b") == [1, 2]


def test_a_statement_goes_to_the_new_column_once_that_is_ready(clinic: Clinic) -> None:
    clinic.record(clinic.stored(), clinic.stored(1, IndexState.BUILDING))
    clinic.add(1, "a@b")
    asked = [lambda: clinic.found("a@b"), lambda: clinic.found("a@b", aliased(clinic.Patient))]
    assert [ask() for ask in asked] == [[1], [1]]
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patients SET email_exact = x'00'")
    assert [ask() for ask in asked] == [[], []]
    clinic.record(clinic.stored(0, IndexState.LEAVING), clinic.stored(1))
    assert [ask() for ask in asked] == [[1], [1]]


def test_a_column_that_was_dropped_is_neither_written_nor_asked(clinic: Clinic) -> None:
    clinic.record(clinic.stored(state=IndexState.DROPPED))
    clinic.add(1, "a@b")
    assert clinic.tokens(1) == (None, None)
    with pytest.raises(UnsupportedOperation, match="was dropped: take it out of the model"):
        clinic.found("a@b")


def test_columns_under_different_keys_are_not_joined(clinic: Clinic) -> None:
    one, other = aliased(clinic.Patient), aliased(clinic.Patient)
    clinic.add(1, "a@b")
    joined = select(one.id).join(other, one.email == other.email).where(one.clinic == "acme")
    with clinic.vault.session() as session:
        assert session.scalars(joined).all() == [1]
    clinic.record(clinic.stored(0, IndexState.LEAVING), clinic.stored(1))
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patients SET email_exact__2 = x'01'")
    with clinic.vault.session() as session:
        assert session.scalars(joined).all() == [1]


def test_a_process_that_does_not_know_an_index_may_not_write_its_column(clinic: Clinic) -> None:
    unknown = replace(clinic.stored(), column="phone", hidden="phone_exact", name="exact")
    clinic.record(replace(unknown, state=IndexState.BUILDING))
    with clinic.vault.session() as session, session.begin():
        session.add(clinic.Patient(id=1, clinic="acme", phone="1"))
    clinic.record(replace(unknown, state=IndexState.FILLING))
    with clinic.vault.session() as session:
        session.add(clinic.Patient(id=2, clinic="acme", phone="2"))
        with pytest.raises(UnsupportedOperation, match="Deploy the version that declares it"):
            session.flush()


def test_tokens_made_with_other_options_are_never_mixed(clinic: Clinic) -> None:
    clinic.record(replace(clinic.stored(), fingerprint="0" * 64))
    with pytest.raises(ConfigurationError, match="other options than the model's"):
        clinic.add(1, "a@b")
    with pytest.raises(ConfigurationError, match="other options than the model's"):
        clinic.found("a@b")


def test_a_key_under_which_there_are_tokens_is_not_rotated_alone(clinic: Clinic) -> None:
    lifecycle = clinic.vault.keyring.lifecycle
    clinic.add(1, "a@b")
    with pytest.raises(ConfigurationError, match=r"patients\.email_exact are under this key"):
        lifecycle.rotate_dek("acme", Purpose.SEARCH)
    clinic.record(clinic.stored(0, IndexState.LEAVING), clinic.stored(1))
    for purpose in (Purpose.SEARCH, Purpose.SEARCH_2):
        with pytest.raises(ConfigurationError, match="rows that are there would not be found"):
            lifecycle.rotate_dek("acme", purpose)
        with pytest.raises(ConfigurationError, match="rows that are there would not be found"):
            lifecycle.retire_search(purpose)


def test_a_retired_key_is_kept_while_tokens_may_be_under_it(clinic: Clinic) -> None:
    clinic.add(1, "a@b")
    before, other = clinic.stored(0), clinic.stored(1)
    clinic.record(other)
    lifecycle = clinic.vault.keyring.lifecycle
    assert lifecycle.retire_search(Purpose.SEARCH) == 1
    later = utc_now() + timedelta(days=1)
    clinic.record(before, other)
    kept = lifecycle.drop_retired("acme", lambda deks: {}, as_of=later)
    assert not kept.dropped
    assert list(kept.kept.values()) == ["tokens of patients.email_exact may be under it"]
    clinic.record(replace(clinic.stored(0), begun=later))
    assert len(lifecycle.drop_retired("acme", lambda deks: {}, as_of=later).dropped) == 1


def test_options_that_change_without_a_migration_are_refused(
    make_vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.0)
    vault = make_vault()

    def patients(index: Exact) -> Table:
        metadata = MetaData()
        columns = Column("id", Integer, primary_key=True), Column("clinic", String(40))
        email = Column("email", EncryptedType(String(40), index=[index]))
        table = Table("patients", metadata, *columns, email, info={"cmk_tenant": "clinic"})
        vault.keyring.protect(metadata)
        return table

    short, full = patients(Exact(bits=100)), patients(Exact())
    row = {"id": 1, "clinic": "acme", "email": "a@b"}
    short.metadata.create_all(vault.engine)
    with vault.engine.begin() as connection:
        connection.execute(insert(short), row)
        with pytest.raises(ConfigurationError, match="other options than the model's"):
            connection.execute(insert(full), row)
        with pytest.raises(ConfigurationError, match="other options than the model's"):
            connection.execute(select(full.c.id).where(full.c.clinic == "acme", full.c.email == "a@b"))
    short.drop(vault.engine)
    assert not vault.keyring.indexes.stored()
    full.create(vault.engine)
    with vault.engine.begin() as connection:
        connection.execute(insert(full), row)
        asked = select(full.c.id).where(full.c.clinic == "acme", full.c.email == "a@b")
        assert connection.scalars(asked).all() == [1]
