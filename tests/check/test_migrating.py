"""What a migration would do to a column is said before it does anything."""

import pytest
from sqlalchemy import Connection, inspect, text

from sqlalchemy_cmk import ConfigurationError, Keyring
from sqlalchemy_cmk.check import Migration, migrations, subjects_of
from tests.check.conftest import Make
from tests.support.databases import Database


def looked_at(keyring: Keyring, *names: str, **options: tuple[str, ...]) -> dict[str, Migration]:
    return {one.where: one for one in migrations(keyring, subjects_of(keyring, names, **options))}


def snapshot(keyring: Keyring) -> tuple[object, ...]:
    def read(connection: Connection) -> tuple[object, ...]:
        rows = connection.execute(text("SELECT * FROM patients ORDER BY id")).all()
        columns = [str(one["type"]) for one in inspect(connection).get_columns("patients")]
        return inspect(connection).get_table_names(), columns, rows

    return keyring.connections.run(read)


def test_a_table_is_measured_and_stays_as_it_is(make: Make, database: Database) -> None:
    keyring = make(database.url)
    before = snapshot(keyring)
    found = looked_at(keyring)
    ssn = found["patients.ssn"]
    assert ssn.obstacles == () and ssn.before.startswith("VARCHAR") and ssn.after != ssn.before
    assert ssn.timing is not None and (ssn.timing.rows, ssn.timing.sampled) == (300, 300)
    assert ssn.timing.row_seconds > 0 and ssn.timing.bytes_after == ssn.timing.bytes_before + 37
    assert ssn.timing.seconds >= 300 / 10_000
    assert found["patients.email"].timing is not None
    assert "not in this database yet" in found["patients.history"].done
    assert snapshot(keyring) == before


def test_a_keyring_on_an_asynchronous_driver_checks_the_same(make: Make, sqlite_database: Database) -> None:
    found = looked_at(make(sqlite_database.url, asynchronous=True), "patients.ssn", "patients.born")
    assert (
        all(one.timing is not None and one.timing.rows == 300 for one in found.values()) and len(found) == 2
    )


def test_declared_columns_are_checked_unless_others_are_named(plain: Keyring) -> None:
    assert set(looked_at(plain)) == {f"patients.{name}" for name in ("ssn", "email", "born", "history")}
    assert set(looked_at(plain, "patients.clinic")) == {"patients.clinic"}


def test_a_plain_column_is_checked_as_it_would_be_sealed(plain: Keyring) -> None:
    (random,) = looked_at(plain, "patients.phone").values()
    assert any("stops no duplicate" in one for one in random.obstacles)
    (fixed,) = looked_at(plain, deterministic=("patients.phone",)).values()
    assert not any("stops no duplicate" in one for one in fixed.obstacles)


def test_a_mistyped_column_is_an_error(plain: Keyring) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean patients\.ssn"):
        subjects_of(plain, ["patients.snn"])


def test_what_stands_in_a_migrations_way_is_all_named(make: Make, sqlite_database: Database) -> None:
    trigger = "CREATE TRIGGER stop BEFORE UPDATE ON patients BEGIN SELECT RAISE(ABORT, 'no'); END"
    view = "CREATE VIEW numbers AS SELECT substr(ssn, 1, 3) AS area FROM patients"
    keyring = make(sqlite_database.url, trigger, view)
    (ssn,) = looked_at(keyring, "patients.ssn").values()
    assert any("numbers" in one for one in ssn.obstacles) and any("stop" in one for one in ssn.obstacles)
    assert ssn.timing is None


def test_values_that_would_not_come_back_are_found(make: Make, sqlite_database: Database) -> None:
    keyring = make(sqlite_database.url)

    def damage(connection: Connection) -> None:
        connection.execute(text("UPDATE patients SET born = 'yesterday' WHERE id = 7"))

    keyring.connections.run(damage)
    (born,) = looked_at(keyring, "patients.born").values()
    assert any("1 values cannot be sealed" in one and "[7]" in one for one in born.obstacles)
