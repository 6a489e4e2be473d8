"""Only a value that does not open is damaged: an error in the application's own type is raised as it is."""

from typing import Any

import pytest
from sqlalchemy import String, TypeDecorator, select

from sqlalchemy_cmk import EncryptedType, TamperedError
from sqlalchemy_cmk.databases.reading import RowReader
from sqlalchemy_cmk.doctor.columns import ColumnChecks
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.rekey.conftest import add_people, fill, sealing
from tests.support.world import World

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


Error = type[Exception]
TEXTS = ["good", "bad", "also good"]


class Faulty(TypeDecorator[str]):
    """Text whose reading or writing fails at one value: `fails` says how."""

    impl = String
    cache_ok = True

    def __init__(
        self, reading: type[Exception] | None = None, writing: type[Exception] | None = None
    ) -> None:
        super().__init__(40)
        self.reading, self.writing = reading, writing

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value == "bad" and self.writing:
            raise self.writing(value)
        return value

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        if value == "bad" and self.reading:
            raise self.reading(value)
        return value


@pytest.fixture
def people(bare: World) -> World:
    """Three people, one of them with a value at which the type may fail."""
    table = add_people(bare)
    rows = ["good", "bad", "also good"]
    fill(
        bare,
        table,
        [{"id": n + 1, "owner": "acme", "plain": one, "sealed": one} for n, one in enumerate(rows)],
    )
    return bare


def sealed_as(type_: Faulty) -> EncryptedType:
    return EncryptedType(type_, context=("people", "sealed"))


def reading(type_: Faulty) -> Job:
    return Job("people", (Move("sealed", "again", sealed_as(type_), type_),), tenant_column="owner")


def encoding(type_: Faulty) -> Job:
    return Job("people", (sealing("plain", "other", type_),), tenant_column="owner")


ERRORS = [TypeError, AttributeError, NameError]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_reading_sealed_values_is_raised_by_a_run_and_by_verify(
    people: World, error: type[Exception]
) -> None:
    job = reading(Faulty(reading=error))
    with pytest.raises(error):
        Rekey(people.keyring).verify(job)
    with pytest.raises(error):
        Rekey(people.keyring).run(job)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_the_code_that_fetches_rows_is_raised(
    bare: World, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    bare.write("acme", "a note")
    monkeypatch.setattr(RowReader, "rows", fail)
    with pytest.raises(error):
        Rekey(bare.keyring).verify(Job.of(bare.notes))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["reading", "writing"])
def test_an_error_in_sealing_plain_values_is_raised(
    people: World, where: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Rekey(people.keyring).run(encoding(Faulty(**{where: error})))
    assert people.raw("SELECT count(*) FROM people WHERE other IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("where", ["reading", "writing"])
@pytest.mark.parametrize("error", [ValueError, KeyError, ZeroDivisionError])
def test_an_error_about_the_value_is_damage(people: World, where: str, error: type[Exception]) -> None:
    report = Rekey(people.keyring).run(encoding(Faulty(**{where: error})))
    assert [one.key for one in report.damaged] == ["[2]"] and report.rows_changed == 2
    assert "bad" not in str(report)
    if where == "reading":
        found = Rekey(people.keyring).run(reading(Faulty(reading=error))).damaged
        assert [one.key for one in found] == ["[2]"] and error.__name__ in found[0].reason


@pytest.mark.parametrize("error", [*ERRORS, ValueError])
def test_queries_and_the_doctor_raise_an_error_in_the_type_and_name_a_value_that_is_none(
    bare: World, error: type[Exception]
) -> None:
    table = add_people(bare, wrong=EncryptedType(Faulty(reading=error)))
    fill(bare, table, [{"id": 1, "owner": "acme", "wrong": "bad"}])
    with pytest.raises(TamperedError if error is ValueError else error), bare.engine.connect() as connection:
        connection.execute(select(table.c.owner, table.c.wrong)).all()
    checks = ColumnChecks(bare.keyring)
    if error is ValueError:
        assert any("not a value of the declared type" in one.what for one in checks.findings())
    else:
        with pytest.raises(error):
            list(checks.findings())
