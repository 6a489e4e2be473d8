"""Indexes of tables in use: made, made again under other keys, dropped; while others write, and killed."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import String, inspect, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, KeyUnavailable, UnsupportedOperation
from sqlalchemy_cmk.columns.token_columns import token_indexes
from sqlalchemy_cmk.keys.indexes import catalogue, records
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey import Rekey
from sqlalchemy_cmk.rekey.indexes import (
    IndexSpec,
    IndexWork,
    build_index,
    drop_index,
    expand_index,
    finish_rotation,
    rebuild_index,
    rotate_indexes,
    rotating,
    work,
)
from sqlalchemy_cmk.runtime.clock import utc_now
from sqlalchemy_cmk.search import Exact, NGram
from tests.support.vault import Vault, vault

__all__ = ["vault"]

pytestmark = pytest.mark.drivers("sync")


def _patient(base: Any, index: Any, name: str = "patients", context: Any = None) -> Any:
    class Patient(base):
        __tablename__ = name
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=index, context=context))

    return Patient


class Clinic:
    """A table that was made before anybody thought of an index, and the model that declares one."""

    def __init__(self, vault: Vault, index: Any) -> None:
        self.vault = vault
        self.Old = _patient(vault.base, ())
        vault.create()
        base: Any = type("NewBase", (DeclarativeBase,), {})
        self.Patient = _patient(base, (index,))
        vault.keyring.protect(base)
        (one,) = token_indexes(self.Patient.__table__)["email"]
        self.spec = IndexSpec.of(one)

    def work(self, step: Any, *arguments: Any) -> None:
        rekey = Rekey(self.vault.keyring, chunk=7, rate=None)
        with self.vault.engine.connect() as connection:
            work = IndexWork(
                self.vault.keyring, connection.execution_options(isolation_level="AUTOCOMMIT"), rekey.run
            )
            step(work, self.spec, *arguments)

    def add(self, first: int, *emails: str | None, model: Any = None) -> None:
        rows = [(first + i, email) for i, email in enumerate(emails)]
        made = [(model or self.Patient)(id=id_, clinic=f"c{id_ % 3}", email=email) for id_, email in rows]
        with self.vault.session() as session, session.begin():
            session.add_all(made)

    def found(self, email: str, clinic: str) -> list[int]:
        Patient = self.Patient
        query = select(Patient.id).where(Patient.clinic == clinic, Patient.email == email)
        with self.vault.session() as session:
            return sorted(session.scalars(query))

    def agrees(self) -> bool:
        """Whether each value of each tenant is found as one finds it by opening every row."""
        with self.vault.session() as session:
            every = session.execute(select(self.Patient.id, self.Patient.clinic, self.Patient.email)).all()
        asked = {(clinic, email) for _, clinic, email in every if email is not None}
        return bool(asked) and all(
            self.found(email, clinic) == sorted(i for i, c, e in every if (c, e) == (clinic, email))
            for clinic, email in asked
        )

    def columns(self) -> set[str]:
        return {one["name"] for one in inspect(self.vault.engine).get_columns("patients")}


@pytest.fixture
def clinic(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.1)
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.3)
    return Clinic(vault, Exact())


@pytest.fixture
def writers(clinic: Clinic) -> Iterator[list[Exception]]:
    """Processes that know the index write, all the time, and ask what they have written."""
    stop, failed = threading.Event(), []

    def write(first: int) -> None:
        at = first
        while not stop.is_set():
            try:
                clinic.add(at, f"w{at % 5}")
                with clinic.vault.session() as session, session.begin():
                    session.get(clinic.Patient, at).email = f"x{at % 4}"
            except UnsupportedOperation as error:
                failed.append(error)
            except (OperationalError, KeyUnavailable):
                pass  # SQLite has one writer
            at += 1
            stop.wait(0.01)

    clinic.add(1, *(f"e{i % 6}" for i in range(40)), None, "last", model=clinic.Old)
    clinic.work(expand_index)
    threads = [threading.Thread(target=write, args=(first,)) for first in (10_000,)]
    for one in threads:
        one.start()
    yield failed
    stop.set()
    for one in threads:
        one.join()


def test_an_index_of_a_table_in_use_finds_every_row_once_it_answers(
    clinic: Clinic, writers: list[Exception]
) -> None:
    with pytest.raises(UnsupportedOperation, match="is being built"):
        clinic.found("e1", "c1")
    clinic.work(build_index)
    assert clinic.found("last", "c0") == [42]
    clinic.work(rebuild_index, Purpose.SEARCH_2)
    assert clinic.found("last", "c0") == [42]
    assert {"email_exact", "email_exact__2"} <= clinic.columns()
    clinic.work(finish_rotation)
    assert "email_exact" not in clinic.columns()
    assert clinic.found("last", "c0") == [42]
    assert not writers


def test_a_rotation_goes_there_and_back_and_retires_the_old_keys(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add(1, *(f"e{i % 6}" for i in range(20)), model=clinic.Old)
    clinic.work(build_index)
    lifecycle = clinic.vault.keyring.lifecycle
    for new, old in ((Purpose.SEARCH_2, Purpose.SEARCH), (Purpose.SEARCH, Purpose.SEARCH_2)):
        clinic.work(rebuild_index, new)
        assert clinic.agrees()
        clinic.work(finish_rotation)
        assert lifecycle.retire_search(old) == 3
        assert clinic.agrees()
        monkeypatch.setattr(work, "utc_now", utc_now)
        with pytest.raises(KeyUnavailable, match="retired a short time ago, and processes may make tokens"):
            clinic.work(rebuild_index, old)
        monkeypatch.setattr(work, "utc_now", lambda: utc_now() + timedelta(days=1))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_index_of_a_table_that_is_made_after_a_rotation_is_under_the_keys_of_the_others(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the old ones a process may make tokens for a while after they were retired."""
    clinic.add(1, "a", "b", model=clinic.Old)
    clinic.work(build_index)
    clinic.work(rebuild_index, Purpose.SEARCH_2)

    def make(name: str) -> Any:
        base: Any = type("Later", (DeclarativeBase,), {})
        model = _patient(base, (Exact(),), name=name)
        clinic.vault.keyring.protect(base)
        base.metadata.create_all(clinic.vault.engine)
        return model

    made = [make("during")]
    clinic.work(finish_rotation)
    clinic.vault.keyring.lifecycle.retire_search(Purpose.SEARCH)
    made.append(make("after"))
    stored = {one.table: (one.slot, one.purpose) for one in clinic.vault.keyring.indexes.stored()}
    under = Purpose.SEARCH_2
    assert stored == {"patients": (1, under), "during": (0, under), "after": (0, under)}
    with clinic.vault.session() as session, session.begin():
        session.add_all(one(id=1, clinic="c1", email="a") for one in made)
    specs = [IndexSpec.of(one) for each in made for one in token_indexes(each.__table__)["email"]]
    clinic.Patient = made[1]
    assert clinic.found("a", "c1") == [1]
    monkeypatch.setattr(work, "utc_now", lambda: utc_now() + timedelta(days=1))
    clinic.work(lambda work, _: rotate_indexes(work, [clinic.spec, *specs]))
    assert {one.purpose for one in clinic.vault.keyring.indexes.stored()} == {Purpose.SEARCH}
    assert clinic.found("a", "c1") == [1]


def test_an_index_that_is_dropped_is_refused_and_can_be_made_again(clinic: Clinic) -> None:
    clinic.add(1, "a", "b", model=clinic.Old)
    clinic.work(build_index)
    clinic.work(drop_index)
    assert "email_exact" not in clinic.columns()
    clinic.add(5, "a")
    with pytest.raises(UnsupportedOperation, match="was dropped"):
        clinic.found("a", "c1")
    clinic.work(build_index)
    assert clinic.agrees()


def test_what_a_process_wrote_that_did_not_know_the_index_is_found(clinic: Clinic) -> None:
    """It changes values whose tokens are there already, and takes them away, until the index is filled."""
    clinic.work(expand_index)
    clinic.add(1, "a", "b", "c")
    with clinic.vault.session() as session, session.begin():
        session.get(clinic.Old, 1).email = "z"
        session.get(clinic.Old, 2).email = None
    clinic.work(build_index)
    assert clinic.agrees()
    assert clinic.found("a", "c1") == [] and clinic.found("z", "c1") == [1] and clinic.found("b", "c2") == []
    with pytest.raises(UnsupportedOperation, match="Deploy the version that declares it"):
        clinic.add(9, "a", model=clinic.Old)


@pytest.mark.parametrize("killed", ["add_column", "clear_nulls", "add_index", "_open"])
def test_a_build_that_was_killed_goes_on(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    from sqlalchemy_cmk.rekey.indexes import build

    clinic.add(1, *(f"e{i % 6}" for i in range(20)), model=clinic.Old)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build, killed, die)
        with pytest.raises(KeyboardInterrupt):
            clinic.work(build_index)
    if killed != "add_column":
        with pytest.raises(UnsupportedOperation, match="is being built"):
            clinic.found("e1", "c1")
    clinic.work(build_index)
    assert clinic.agrees()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("rotates", [False, True])
def test_an_index_whose_table_is_renamed_before_it_is_ready_is_refused_until_it_is_made_anew(
    clinic: Clinic, rotates: bool
) -> None:
    """With the same context under the new name, as values need it to open."""
    clinic.add(1, "a", "b", "c", model=clinic.Old)
    clinic.work(build_index if rotates else expand_index)
    if rotates:  # there and back: the first hidden column has tokens under other keys than at first
        clinic.work(rebuild_index, Purpose.SEARCH_2)
        clinic.work(finish_rotation)
        (stored,) = clinic.vault.keyring.indexes.stored()
        other = replace(stored, hidden="email_exact", slot=0)
        with clinic.vault.engine.begin() as connection:
            clinic.vault.keyring.indexes.erase(connection, stored)
            clinic.vault.keyring.indexes.record(connection, [other])
            connection.exec_driver_sql("ALTER TABLE patients RENAME COLUMN email_exact__2 TO email_exact")
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE patients RENAME TO people")
    base: Any = type("Renamed", (DeclarativeBase,), {})
    clinic.Patient = _patient(base, (Exact(),), name="people", context=("patients", "email"))
    clinic.vault.keyring.protect(base)
    (one,) = token_indexes(clinic.Patient.__table__)["email"]
    clinic.spec = IndexSpec.of(one)
    with pytest.raises(UnsupportedOperation, match=r"make the index again with op\.create"):
        clinic.found("a", "c1")
    clinic.add(7, "a")
    clinic.work(build_index)
    assert clinic.agrees() and clinic.found("a", "c1") == [1, 7]
    assert [one.table for one in clinic.vault.keyring.indexes.stored()] == ["people"]


def test_values_that_are_not_unique_are_named_as_such(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.1)
    clinic = Clinic(vault, Exact(unique=True))
    clinic.add(1, "a", "b", "c", "a", model=clinic.Old)
    with pytest.raises(ConfigurationError, match="the index is unique, and rows have equal values"):
        clinic.work(build_index)
    with vault.session() as session, session.begin():
        session.get(clinic.Patient, 4).email = "d"
    clinic.work(build_index)
    assert clinic.agrees()


def test_ngrams_of_a_table_in_use_are_found_dropped_and_found_again(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.0)
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.05)
    clinic = Clinic(vault, NGram(3))

    def found(part: str) -> list[int]:
        query = select(clinic.Patient).where(
            clinic.Patient.clinic == "c1", clinic.Patient.email.icontains(part)
        )
        with vault.session() as session:
            return sorted(one.id for one in session.scalars(query))

    clinic.add(1, "Harris", "other", None, "harrison", model=clinic.Old)
    clinic.work(expand_index)
    clinic.add(7, "PHARRIX")
    with pytest.raises(UnsupportedOperation, match="is being built"):
        found("arri")
    clinic.work(build_index)
    assert found("arri") == [1, 4, 7] and found("xyz") == []
    clinic.work(rebuild_index, Purpose.SEARCH_2)
    clinic.add(10, "arri")
    assert found("arri") == [1, 4, 7, 10]
    clinic.work(finish_rotation)
    with vault.session() as session, session.begin():
        session.get(clinic.Patient, 1).email = "gone"
    assert found("arri") == [4, 7, 10] and "email_ngram" not in clinic.columns()
    clinic.work(drop_index)
    assert not [one for one in inspect(vault.engine).get_table_names() if "_grams" in one]
    with pytest.raises(UnsupportedOperation, match="was dropped"):
        found("arri")
    clinic.work(build_index)
    assert found("arri") == [4, 7, 10]


def test_a_rotation_of_all_indexes_goes_on_where_it_was_interrupted(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add(1, "a", "b", "c", model=clinic.Old)
    clinic.work(build_index)
    every = [clinic.spec]

    def rotate(work: IndexWork, spec: IndexSpec) -> None:
        assert rotate_indexes(work, every) == 3

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rotating, "finish_rotation", die)
        with pytest.raises(KeyboardInterrupt):
            clinic.work(rotate)
    assert clinic.agrees()
    clinic.work(rotate)
    (stored,) = clinic.vault.keyring.indexes.stored()
    assert (stored.hidden, stored.purpose) == ("email_exact__2", Purpose.SEARCH_2)
    assert clinic.agrees()


def test_rows_whose_key_is_revoked_keep_an_index_from_being_asked(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add(1, "a", "b", "c", model=clinic.Old)
    monkeypatch.setattr(Rekey, "run", lambda *_: None)
    with pytest.raises(KeyUnavailable, match="3 rows have a value and no token"):
        clinic.work(build_index)
