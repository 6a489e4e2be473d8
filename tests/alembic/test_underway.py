"""A conversion that is under way belongs to one plan, and to one migration at a time."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, insert, select, text

from sqlalchemy_cmk import ConfigurationError, EncryptedType, tenant_scope
from tests.alembic.conftest import Project

PLAIN = String(11)
SEALED = EncryptedType(String(11))
ROWS = [{"id": i, "clinic_id": "acme" if i % 2 else "globex", "ssn": f"078-05-{i:04}"} for i in range(1, 6)]


def patients(type_: Any) -> MetaData:
    metadata = MetaData()
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("clinic_id", String(40), nullable=False),
        Column("ssn", type_),
        info={"cmk_tenant": "clinic_id"},
    )
    return metadata


@pytest.fixture
def clinic(project: Project) -> Project:
    """A table of plain values, and the key tables."""
    project.options["rekey"] = {"rate": None}
    project.models(patients(PLAIN))
    project.keyring.protect(project.metadata)
    project.metadata.create_all(project.engine)
    with project.engine.begin() as connection:
        connection.execute(insert(project.metadata.tables["patients"]), ROWS)
    project.models(patients(SEALED))
    return project


# What decides it is the same on every database.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
by_every_driver = pytest.mark.drivers("sync", "asyncpg", "async")


def migrate(project: Project, *steps: Callable[[Any], object]) -> None:
    for step in steps:
        with project.engine.connect() as connection:
            options = {"keyring": project.keyring, "target_metadata": project.metadata, **project.options}
            options["transaction_per_migration"] = True
            context = MigrationContext.configure(connection, opts=options)
            with context.begin_transaction(_per_migration=True):
                step(Operations(context))


def seal(phase: str = "all", type_: Any = SEALED, **options: Any) -> Callable[[Any], object]:
    options = {"existing_type": PLAIN, "tenant_column": "clinic_id", **options}
    return lambda op: op.encrypt_column("patients", "ssn", type_, phase=phase, **options)


def unseal(phase: str = "all", type_: Any = SEALED) -> Callable[[Any], object]:
    options: dict[str, Any] = {"existing_type": type_, "tenant_column": "clinic_id"}
    return lambda op: op.decrypt_column("patients", "ssn", PLAIN, phase=phase, **options)


def stored(project: Project, column: str = "ssn") -> list[Any]:
    with project.engine.connect() as connection:
        return list(connection.scalars(text(f"SELECT {column} FROM patients ORDER BY id")))


def opened(project: Project, type_: Any = SEALED) -> list[Any]:
    project.models(patients(type_))
    project.keyring.protect(project.metadata)
    table, found = project.metadata.tables["patients"], {}
    with project.engine.connect() as connection:
        for tenant in ("acme", "globex"):
            with tenant_scope(tenant):
                query = select(table.c.id, table.c.ssn).where(table.c.clinic_id == tenant)
                found |= dict(map(tuple, connection.execute(query)))
    return [found[i] for i in sorted(found)]


def columns(project: Project) -> set[str]:
    with project.engine.connect() as connection:
        return set(connection.execute(text("SELECT * FROM patients")).keys())


def underway(project: Project) -> int:
    with project.engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM cmk_conversions")) or 0)


VALUES = [row["ssn"] for row in ROWS]


def test_half_a_decryption_does_not_leave_plain_values_in_a_sealed_column(clinic: Project) -> None:
    migrate(clinic, seal(), unseal("expand"), unseal("copy"), seal())
    assert opened(clinic) == VALUES
    assert not set(map(str, stored(clinic))) & set(VALUES)
    assert columns(clinic) == {"id", "clinic_id", "ssn"} and underway(clinic) == 0


def test_a_change_of_the_type_does_not_take_up_half_a_decryption(clinic: Project) -> None:
    other = EncryptedType(String(40), deterministic=True)

    def change(op: Any) -> None:
        op.reencrypt("patients", "ssn", type_=other, existing_type=SEALED, tenant_column="clinic_id")

    migrate(clinic, seal(), unseal("expand"), unseal("copy"), change)
    assert opened(clinic, other) == VALUES
    assert not set(map(str, stored(clinic))) & set(VALUES)


@on_sqlite
def test_what_is_sealed_in_another_way_is_refused_before_it_is_opened(clinic: Project) -> None:
    """It would stop at the first row, with nothing wrong with that but the migration's `existing_type`."""
    other = EncryptedType(String(11), deterministic=True)
    migrate(clinic, seal(type_=other))
    before = stored(clinic)
    with pytest.raises(ConfigurationError, match=r"deterministic=True.*give existing_type the options"):
        migrate(clinic, unseal())
    assert stored(clinic) == before and columns(clinic) == {"id", "clinic_id", "ssn"}


@on_sqlite
@pytest.mark.parametrize(
    "type_",
    [
        EncryptedType(String(11), deterministic=True),
        EncryptedType(String(11), context="people.ssn"),
        EncryptedType(String(11), row_bound=True),
        EncryptedType(String(11), owner="platform"),
    ],
    ids=["deterministic", "context", "row_bound", "owner"],
)
def test_an_edited_migration_seals_every_row_as_it_says_now(clinic: Project, type_: Any) -> None:
    migrate(clinic, seal("expand"), seal("copy"), seal("all", type_))
    assert opened(clinic, type_) == VALUES


@on_sqlite
@pytest.mark.parametrize("phases", [("copy", "swap"), ("swap",)])
def test_an_edited_phase_begins_anew(clinic: Project, phases: tuple[str, ...]) -> None:
    other = EncryptedType(String(11), deterministic=True)
    migrate(clinic, seal("expand"), seal("copy"), *(seal(phase, other) for phase in phases))
    assert opened(clinic, other) == VALUES


def test_a_migration_that_is_only_run_again_keeps_what_it_has_copied(clinic: Project) -> None:
    migrate(clinic, seal("expand"), seal("copy"))
    copied = stored(clinic, "ssn__cmk")
    migrate(clinic, seal())
    assert stored(clinic) == copied and opened(clinic) == VALUES


@pytest.mark.parametrize(
    ("done", "phases"), [(("expand",), ("all",)), (("expand", "copy"), ("swap", "copy", "expand"))]
)
def test_a_downgrade_between_the_phases_takes_away_what_they_made(
    clinic: Project, done: tuple[str, ...], phases: tuple[str, ...]
) -> None:
    migrate(clinic, *map(seal, done), *map(unseal, phases))
    assert stored(clinic) == VALUES
    assert columns(clinic) == {"id", "clinic_id", "ssn"} and underway(clinic) == 0
    with clinic.engine.begin() as connection:  # no trigger is left that looks for the shadow
        connection.execute(text("UPDATE patients SET ssn = 'changed' WHERE id = 1"))
    migrate(clinic, seal())
    assert opened(clinic) == ["changed", *VALUES[1:]]


def test_a_shadow_that_nobody_recorded_is_refused(clinic: Project) -> None:
    with clinic.engine.begin() as connection:
        connection.execute(text("ALTER TABLE patients ADD COLUMN ssn__cmk VARCHAR(90)"))
        connection.execute(text("UPDATE patients SET ssn__cmk = 'mine'"))
    with pytest.raises(ConfigurationError, match=r"patients.ssn: the column ssn__cmk is there, and no conv"):
        migrate(clinic, seal())
    assert stored(clinic) == VALUES and set(stored(clinic, "ssn__cmk")) == {"mine"}


def test_a_record_without_its_shadow_is_begun_anew(clinic: Project) -> None:
    with clinic.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO cmk_conversions VALUES ('', 'patients', 'ssn', 'plan', 'copying', NULL)")
        )
    migrate(clinic, seal())
    assert opened(clinic) == VALUES and underway(clinic) == 0


def test_a_swap_that_was_killed_before_it_was_noted_is_noted_by_the_next_migration(clinic: Project) -> None:
    """On MariaDB the swap commits by itself, before the table of sealed columns is written."""
    migrate(clinic, seal())
    with clinic.engine.begin() as connection:
        scheme = connection.scalar(text("SELECT scheme FROM cmk_columns"))
        connection.execute(text("DELETE FROM cmk_columns"))
        connection.execute(
            text("INSERT INTO cmk_conversions VALUES ('', 'patients', 'ssn', 'plan', 'swapping', :scheme)"),
            {"scheme": scheme},
        )
    migrate(clinic, unseal())
    assert stored(clinic) == VALUES and underway(clinic) == 0


@by_every_driver
def test_two_upgrades_at_once_seal_a_column_of_bytes_once(clinic: Project) -> None:
    type_ = EncryptedType(LargeBinary(20))
    clinic.models(patients(LargeBinary(20)))
    with clinic.engine.begin() as connection:
        connection.execute(text("DROP TABLE patients"))
        clinic.metadata.create_all(connection)
        values = [{**row, "ssn": row["ssn"].encode()} for row in ROWS]
        connection.execute(insert(clinic.metadata.tables["patients"]), values)
    clinic.models(patients(type_))
    clinic.keyring.warm(["acme", "globex"], new=True)
    both = threading.Barrier(2)
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            both.wait(30)
            migrate(clinic, seal(type_=type_, existing_type=LargeBinary(20)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []
    assert opened(clinic, type_) == [row["ssn"].encode() for row in ROWS]


HOLDER = """
import sys
from sqlalchemy import create_engine
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy_cmk.alembic.conversion.alone import alone
connection = create_engine(sys.argv[1]).connect()
with alone(Operations(MigrationContext.configure(connection)), "patients", None):
    print("alone", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(project: Project) -> Iterator[Popen[str]]:
    url = project.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", HOLDER, url]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "alone\n"
        yield process


@by_every_driver
def test_another_migration_is_waited_for_until_its_process_is_killed(
    clinic: Project, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sqlalchemy_cmk")
    with holder(clinic) as process:
        thread = threading.Thread(target=migrate, args=(clinic, seal()))
        thread.start()
        while "another migration converts it" not in caplog.text:
            assert thread.is_alive()
            thread.join(0.01)
        assert stored(clinic) == VALUES
        process.send_signal(signal.SIGKILL)
        thread.join()
    assert opened(clinic) == VALUES


@by_every_driver
def test_the_lock_is_given_back_by_a_migration_that_fails(clinic: Project) -> None:
    with pytest.raises(ConfigurationError, match=r"no column patients\.nothing"):
        migrate(clinic, lambda op: op.encrypt_column("patients", "nothing", SEALED, existing_type=PLAIN))
    with holder(clinic) as process:
        process.communicate("")
