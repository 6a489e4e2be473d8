"""Indexes over several columns of tables in use: made and made again under other keys, while others write."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import JSON, Date, Integer, String, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    KeyUnavailable,
    TamperedError,
    UnsupportedOperation,
)
from sqlalchemy_cmk.columns.compounds import every_index
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
)
from sqlalchemy_cmk.rekey.joint_tokens import JointTokens
from sqlalchemy_cmk.search import Compound, Exact
from sqlalchemy_cmk.search.definitions import definition_of
from tests.support.vault import Vault, vault

__all__ = ["vault"]

pytestmark = pytest.mark.drivers("sync")

MAY, JUNE = date(1980, 5, 4), date(1980, 6, 4)


def _patient(base: Any, together: Any, *own: Any) -> Any:
    class Patient(base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        __cmk_indexes__ = together
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        last: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=own))
        born: Mapped[date | None] = mapped_column(EncryptedType(Date, row_bound=True))

    return Patient


class Clinic:
    """A table that was made before anybody thought of an index, and the model that declares one."""

    def __init__(self, vault: Vault, *, unique: bool = False, last: Any = ()) -> None:
        self.vault = vault
        self.Old = _patient(vault.base, ())
        vault.create()
        base: Any = type("NewBase", (DeclarativeBase,), {})
        self.Patient = _patient(base, (Compound("last", "born", unique=unique),), *last)
        vault.keyring.protect(base)
        self.specs = [
            IndexSpec.of(one, definition_of(one.index)) for one in every_index(self.Patient.__table__)
        ]
        self.spec = self.specs[-1]

    def work(self, step: Any, *arguments: Any, spec: Any = None) -> Any:
        rekey = Rekey(self.vault.keyring, chunk=7, rate=None)

        def run(job: Any) -> Any:
            report = rekey.run(job)
            report.require_opened("their rows would not be found", "the command")
            return report

        with self.vault.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            work = IndexWork(self.vault.keyring, alone, run)
            return step(work, self.spec if spec is None else spec, *arguments)

    def add(self, first: int, *values: tuple[str | None, date | None], model: Any = None) -> None:
        made = [
            (model or self.Patient)(id=id_, clinic=f"c{id_ % 2}", last=last, born=born)
            for id_, (last, born) in enumerate(values, first)
        ]
        with self.vault.session() as session, session.begin():
            session.add_all(made)

    def change(self, id_: int, model: Any = None, **values: Any) -> None:
        with self.vault.session() as session, session.begin():
            for name, value in values.items():
                setattr(session.get_one(model or self.Patient, id_), name, value)

    def found(self, last: str, born: date, clinic: str) -> list[int]:
        P = self.Patient
        query = select(P.id).where(P.clinic == clinic, P.last == last, P.born == born)
        with self.vault.session() as session:
            return sorted(session.scalars(query))

    def misses(self) -> list[Any]:
        """What is not found as one finds it by opening every row."""
        P = self.Patient
        with self.vault.session() as session:
            every = session.execute(select(P.id, P.clinic, P.last, P.born)).all()
        asked = {tuple(row[1:]) for row in every if None not in row}
        assert asked
        right = {one: sorted(row[0] for row in every if tuple(row[1:]) == one) for one in asked}
        return [one for one in asked if self.found(one[1], one[2], one[0]) != right[one]]

    def tokens(self, hidden: str = "last_born_compound") -> list[Any]:
        found = self.vault.raw(f"SELECT {hidden} FROM patients ORDER BY id")
        return [None if one is None else bytes(one) for (one,) in found]


def _many(count: int) -> list[tuple[str | None, date | None]]:
    return [(f"n{i % 3}", (MAY, JUNE)[i % 2]) for i in range(count)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.1)
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.3)


@pytest.fixture
def clinic(vault: Vault) -> Clinic:
    return Clinic(vault)


@pytest.fixture
def failed(clinic: Clinic) -> Iterator[list[Exception]]:
    """What failed in processes that know the index, and write one column each of the same rows."""
    stop, failures = threading.Event(), list[Exception]()

    def write(**choices: tuple[Any, ...]) -> None:
        ((name, values),) = choices.items()
        at = 0
        while not stop.is_set():
            try:
                clinic.change(at % 20 + 1, **{name: values[at % len(values)]})
            except (UnsupportedOperation, ConfigurationError) as error:
                failures.append(error)
            except (OperationalError, KeyUnavailable):
                pass  # SQLite has one writer, and MariaDB lets one of two go that wait for each other
            at += 1
            stop.wait(0.01)

    clinic.add(1, *_many(40), (None, MAY), ("end", JUNE), model=clinic.Old)
    clinic.work(expand_index)
    threads = [
        threading.Thread(target=write, kwargs=one)
        for one in ({"last": ("x", "y", None)}, {"born": (MAY, JUNE)})
    ]
    for one in threads:
        one.start()
    yield failures
    stop.set()
    for one in threads:
        one.join()
    assert not failures
    assert clinic.misses() == []


def test_it_finds_every_row_once_it_answers_and_while_its_keys_rotate(
    clinic: Clinic, failed: list[Exception]
) -> None:
    with pytest.raises(UnsupportedOperation, match="is being built"):
        clinic.found("end", JUNE, "c0")
    clinic.work(build_index)
    assert clinic.found("end", JUNE, "c0") == [42]
    clinic.work(rebuild_index, Purpose.SEARCH_2)
    assert clinic.found("end", JUNE, "c0") == [42]
    clinic.work(finish_rotation)
    assert clinic.found("end", JUNE, "c0") == [42]


def test_what_a_process_wrote_that_did_not_know_it_is_found(clinic: Clinic) -> None:
    clinic.work(expand_index)
    clinic.add(1, ("a", MAY), ("b", MAY), ("c", MAY), ("d", None))
    clinic.change(1, clinic.Old, born=JUNE)
    clinic.change(2, clinic.Old, last=None)
    clinic.change(4, clinic.Old, born=MAY)
    clinic.work(build_index)
    assert clinic.misses() == []
    assert clinic.found("a", MAY, "c1") == clinic.found("b", MAY, "c0") == []
    assert [one is None for one in clinic.tokens()] == [False, True, False, False]
    for changed in ({"last": "z"}, {"born": JUNE}):
        with pytest.raises(UnsupportedOperation, match="Deploy the version that declares it"):
            clinic.change(3, clinic.Old, **changed)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_whose_other_column_is_written_meanwhile_keeps_what_its_writer_wrote(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add(1, *_many(3), model=clinic.Old)
    make = JointTokens.of

    def beside_a_writer(*arguments: Any) -> Any:
        monkeypatch.setattr(JointTokens, "of", make)
        made = make(*arguments)
        clinic.change(1, last="Zoe")
        clinic.change(2, born=date(1999, 1, 1))
        clinic.change(3, born=None)
        return made

    monkeypatch.setattr(JointTokens, "of", beside_a_writer)
    clinic.work(build_index)
    assert clinic.found("Zoe", MAY, "c1") == [1] and clinic.misses() == []
    assert [one is None for one in clinic.tokens()] == [False, False, True]


def test_its_tokens_are_those_that_are_written_with_new_rows(clinic: Clinic) -> None:
    clinic.work(build_index)
    clinic.add(
        1, *((text, day) for text in ("", "é", "李" * 40, "\U0001f600") for day in (date.min, date.max))
    )
    clinic.add(20, ("a", None), (None, MAY))
    written = clinic.tokens()
    (stored,) = clinic.vault.keyring.indexes.stored()
    with clinic.vault.engine.begin() as connection:
        clinic.vault.keyring.indexes.change(connection, stored, records.IndexState.BUILDING)
        connection.exec_driver_sql("UPDATE patients SET last_born_compound = NULL")
    clinic.work(build_index)
    assert clinic.tokens() == written


def test_it_is_dropped_and_made_again(clinic: Clinic) -> None:
    clinic.add(1, *_many(9), model=clinic.Old)
    clinic.work(build_index)
    clinic.work(drop_index)
    clinic.add(20, ("n1", MAY))
    with pytest.raises(UnsupportedOperation, match="was dropped"):
        clinic.found("n1", MAY, "c0")
    clinic.work(build_index)
    assert clinic.misses() == []


def test_rows_that_are_equal_in_all_columns_keep_a_unique_one_from_being_made(vault: Vault) -> None:
    clinic = Clinic(vault, unique=True)
    clinic.add(1, ("a", MAY), ("b", MAY), ("a", MAY), ("a", JUNE), (None, MAY), (None, MAY), model=clinic.Old)
    with pytest.raises(ConfigurationError, match="the index is unique, and rows have equal values"):
        clinic.work(build_index)
    clinic.change(3, last="c")
    clinic.work(build_index)
    assert clinic.misses() == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_value_that_does_not_open_is_named_and_keeps_it_closed(clinic: Clinic) -> None:
    clinic.add(1, *_many(9), model=clinic.Old)
    with clinic.vault.engine.begin() as connection:
        moved = "UPDATE patients SET born = (SELECT born FROM patients WHERE id = 4) WHERE id = 2"
        connection.exec_driver_sql(moved)
    with pytest.raises(TamperedError, match="1 values do not open"):
        clinic.work(build_index)
    assert [one is None for one in clinic.tokens()] == [False, True, *[False] * 7]
    with pytest.raises(UnsupportedOperation, match="is being built"):
        clinic.found("n1", MAY, "c1")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_keys_of_all_indexes_are_rotated_together(vault: Vault) -> None:
    clinic = Clinic(vault, last=(Exact(),))
    clinic.add(1, *_many(9), model=clinic.Old)
    for spec in clinic.specs:
        clinic.work(build_index, spec=spec)
    assert clinic.work(lambda work, _: rotate_indexes(work, clinic.specs)) == 2
    found = {one.hidden: one.purpose for one in vault.keyring.indexes.stored()}
    assert found == dict.fromkeys(("last_exact__2", "last_born_compound__2"), Purpose.SEARCH_2)
    assert clinic.misses() == []
    clinic.change(1, born=date(2000, 1, 1))
    assert clinic.misses() == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_it_is_made_of_values_of_any_type_under_the_key_of_the_platform(vault: Vault) -> None:
    class Place(vault.base):
        __tablename__ = "places"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = mapped_column(String(9))
        at: Mapped[Any] = mapped_column(EncryptedType(JSON))
        floor: Mapped[int] = mapped_column(EncryptedType(Integer, deterministic=True))
        __cmk_indexes__ = (Compound("at", "floor", across_tenants=True),)

    vault.create()
    places: Any = Place.__table__
    with vault.session() as session, session.begin():
        given = ({"b": [1, None], "a": "x"}, [], JSON.NULL, "")
        session.add_all(Place(id=i, owner=f"o{i % 2}", at=one, floor=-i) for i, one in enumerate(given, 1))
    written = vault.raw("SELECT at_floor_compound FROM places ORDER BY id")
    (stored,) = vault.keyring.indexes.stored()
    with vault.engine.begin() as connection:
        vault.keyring.indexes.change(connection, stored, records.IndexState.BUILDING)
        connection.exec_driver_sql("UPDATE places SET at_floor_compound = NULL")
    with vault.engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        (one,) = every_index(places)
        build_index(IndexWork(vault.keyring, alone, Rekey(vault.keyring).run), IndexSpec.of(one))
    assert vault.raw("SELECT at_floor_compound FROM places ORDER BY id") == written


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_it_is_not_made_of_columns_that_may_hold_values_that_are_not_sealed(clinic: Clinic) -> None:
    ((_, column),) = clinic.spec.others
    others = (("born", column.with_options(accept_plaintext=True)),)
    with pytest.raises(ConfigurationError, match="are not sealed yet have no tokens"):
        clinic.work(build_index, spec=replace(clinic.spec, others=others))
