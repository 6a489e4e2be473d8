"""Columns sealed and opened again by migrations that autogenerate wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    insert,
    inspect,
    select,
    text,
)

from sqlalchemy_cmk import ConfigurationError, TamperedError, tenant_scope
from tests.alembic import clinic
from tests.alembic.conftest import Project
from tests.support.databases import Database


@pytest.fixture
def adopting(project: Project) -> Project:
    """A project whose table of plain values is about to be sealed: the models say so already."""
    clinic.make_plain(project, 100)
    return project


def opened(project: Project) -> list[Any]:
    project.keyring.protect(project.metadata)
    table = project.metadata.tables["patients"]
    with project.engine.connect() as connection:
        found: list[Any] = []
        for tenant in clinic.TENANTS:
            with tenant_scope(tenant):
                query = select(table).where(table.c.clinic_id == tenant)
                found += [dict(row._mapping) for row in connection.execute(query)]
    return sorted(found, key=lambda row: row["id"])


def test_plain_columns_are_sealed_and_opened_again_to_the_same_bytes(adopting: Project) -> None:
    before, shape = clinic.stored(adopting.engine), clinic.shape(adopting.engine)
    adopting.models(clinic.sealed())
    text_ = adopting.autogenerate()
    assert text_.count("op.encrypt_columns(") == 1 and "alter_column" not in text_
    adopting.upgrade()
    assert adopting.autogenerate() == ""
    assert opened(adopting) == clinic.rows(100)
    assert clinic.SECRET not in repr(clinic.stored(adopting.engine))
    sealed = clinic.shape(adopting.engine)
    assert (sealed["indexes"], sealed["unique"]) == (shape["indexes"], shape["unique"])
    assert {name: c[1] for name, c in sealed["columns"].items()} == {
        name: c[1] for name, c in shape["columns"].items()
    }
    adopting.downgrade()
    assert clinic.stored(adopting.engine) == before
    assert clinic.shape(adopting.engine) == shape
    adopting.upgrade()
    assert opened(adopting) == clinic.rows(100)


def sealed_by(project: Project, upgrade: str, downgrade: str = "pass") -> None:
    project.revision(upgrade, downgrade)
    project.upgrade()


def run(project: Project, statement: str, **values: Any) -> None:
    with project.engine.begin() as connection:
        connection.execute(text(statement), values)


def forget_last_revision(project: Project) -> None:
    """As if the migration was killed after its last step, before Alembic noted it."""
    (previous,) = (one.down_revision for one in project.revisions() if one.is_head)
    run(project, "UPDATE alembic_version SET version_num = :version", version=previous)


ENCRYPT_SSN = (
    "op.encrypt_column('patients', 'ssn', EncryptedType(sa.String(40)), existing_type=sa.String(40), "
    "tenant_column='clinic_id'{})"
)
DECRYPT_SSN = (
    "op.decrypt_column('patients', 'ssn', sa.String(40), existing_type=EncryptedType(sa.String(40)), "
    "tenant_column='clinic_id'{})"
)


def ssn_sealed() -> Any:
    return clinic.models(
        clinic.String(60), clinic.EncryptedType(clinic.String(40)), clinic.Date(), clinic.Numeric(8, 2)
    )


def test_a_migration_that_was_killed_before_it_was_noted_is_run_again(adopting: Project) -> None:
    before = clinic.stored(adopting.engine)
    adopting.models(ssn_sealed())
    sealed_by(adopting, ENCRYPT_SSN.format(""), DECRYPT_SSN.format(""))
    sealed = clinic.stored(adopting.engine)
    forget_last_revision(adopting)
    adopting.upgrade()
    assert clinic.stored(adopting.engine) == sealed
    (head,) = (one.revision for one in adopting.revisions() if one.is_head)
    adopting.downgrade()
    run(adopting, "UPDATE alembic_version SET version_num = :version", version=head)
    adopting.downgrade()
    assert clinic.stored(adopting.engine) == before


def test_old_and_new_versions_of_the_application_run_between_the_phases(adopting: Project) -> None:
    adopting.models(ssn_sealed())
    sealed_by(adopting, ENCRYPT_SSN.format(", phase='expand'"))
    sealed_by(adopting, ENCRYPT_SSN.format(", phase='copy'"))
    # An old version of the application changes values, takes one away, moves a row and writes a new one.
    run(adopting, "UPDATE patients SET ssn = 'changed' WHERE id = 1")
    run(adopting, "UPDATE patients SET ssn = 'CHANGED' WHERE id = 1")
    run(adopting, "UPDATE patients SET ssn = NULL WHERE id = 2")
    run(adopting, "UPDATE patients SET clinic_id = 'globex' WHERE id = 4")
    run(
        adopting,
        "INSERT INTO patients (id, email, clinic_id, ssn, born) "
        "VALUES (999, 'x', 'acme', 'new', '2001-01-01')",
    )
    with adopting.engine.connect() as connection:
        shadows = {row[0]: row[1] for row in connection.execute(text("SELECT id, ssn__cmk FROM patients"))}
    assert [shadows[1], shadows[2], shadows[4], shadows[999]] == [None] * 4
    assert shadows[3] is not None
    assert adopting.autogenerate().count("drop_column") == 0
    for path in (adopting.folder / "versions").glob("*_found.py"):
        if "ssn" in path.read_text() and "create_table" not in path.read_text():
            path.unlink()
    sealed_by(adopting, ENCRYPT_SSN.format(", phase='swap'"))
    values = {row["id"]: row["ssn"] for row in opened(adopting)}
    assert (values[1], values[2], values[999]) == ("CHANGED", None, "new")
    assert [values[3], values[4]] == [row["ssn"] for row in clinic.rows(4)[2:]]


def test_the_phases_come_in_their_order(sqlite_project: Project) -> None:
    sqlite_project.models(clinic.plain())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    with pytest.raises(ConfigurationError, match=r"patients.ssn: phase 'swap' comes after phase 'expand'"):
        sealed_by(sqlite_project, ENCRYPT_SSN.format(", phase='swap'"))


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({"context": "people.ssn"}, 80),
        ({"deterministic": True}, 80),
        ({"type_": clinic.String(90)}, 80),
        ({"type_": clinic.LargeBinary(80)}, 0),
    ],
    ids=["context", "deterministic", "length", "type"],
)
def test_a_changed_context_deterministic_or_type_reseals_every_value(
    adopting: Project, changed: dict[str, Any], count: int
) -> None:
    adopting.models(ssn_sealed())
    adopting.autogenerate()
    adopting.upgrade()
    before = opened(adopting)
    if not count:
        run(adopting, "UPDATE patients SET ssn = NULL")
    type_ = clinic.EncryptedType(**{"type_": clinic.String(40), **changed})
    adopting.models(clinic.models(clinic.String(60), type_, clinic.Date(), clinic.Numeric(8, 2)))
    assert adopting.autogenerate().count("op.reencrypt(") == 2
    adopting.upgrade()
    assert adopting.autogenerate() == ""
    after = opened(adopting)
    assert sum(row["ssn"] is not None for row in after) == count
    assert after == before or not count
    adopting.downgrade()
    adopting.models(ssn_sealed())
    assert opened(adopting) == before or not count


def test_reencrypt_seals_every_value_under_the_active_dek(adopting: Project) -> None:
    adopting.models(clinic.sealed())
    adopting.autogenerate()
    adopting.upgrade()
    (old,) = deks_in_use(adopting, "acme")
    sealed_by(adopting, "op.rotate_dek('acme'); op.reencrypt('patients', ['ssn', 'born', 'debt'], 'acme')")
    (new,) = deks_in_use(adopting, "acme")
    assert new != old
    assert opened(adopting) == clinic.rows(100)


def deks_in_use(project: Project, tenant: str) -> set[bytes]:
    with project.engine.connect() as connection:
        query = text("SELECT ssn FROM patients WHERE clinic_id = :tenant AND ssn IS NOT NULL")
        return {bytes(row[0])[1:9] for row in connection.execute(query, {"tenant": tenant})}


def test_a_mixed_column_is_sealed_at_leisure_and_opened_again(adopting: Project) -> None:
    before = clinic.stored(adopting.engine)
    adopting.models(
        clinic.models(
            clinic.String(60),
            clinic.EncryptedType(clinic.String(40), accept_plaintext=True),
            clinic.Date(),
            clinic.Numeric(8, 2),
        )
    )
    assert "mixed=True" in adopting.autogenerate()
    adopting.upgrade()
    assert opened(adopting) == clinic.rows(100)
    sealed_by(adopting, "op.reencrypt('patients', 'ssn')")
    assert clinic.SECRET not in repr(clinic.stored(adopting.engine))
    assert len(deks_in_use(adopting, "acme")) == 1
    assert opened(adopting) == clinic.rows(100)
    adopting.downgrade("-2")
    assert clinic.stored(adopting.engine) == before


def test_a_batch_seals_a_column_beside_its_other_changes(adopting: Project) -> None:
    adopting.models(ssn_sealed())
    call = ENCRYPT_SSN.format("").replace("op.", "batch.").replace("'patients', ", "")
    sealed_by(
        adopting,
        f"with op.batch_alter_table('patients') as batch:\n        {call}\n"
        "        batch.add_column(sa.Column('note', sa.String(10)))",
    )
    assert "note" in clinic.shape(adopting.engine)["columns"]
    assert opened(adopting) == clinic.rows(100)


def test_a_value_that_does_not_open_keeps_the_column_sealed_and_the_application_running(
    adopting: Project,
) -> None:
    adopting.models(ssn_sealed())
    adopting.autogenerate()
    adopting.upgrade()
    run(adopting, "UPDATE patients SET ssn = :broken WHERE id = 7", broken=b"\x01" + bytes(60))
    sealed = clinic.stored(adopting.engine)
    with pytest.raises(
        TamperedError, match=r"1 values do not open.*the first is ssn of the row with key"
    ) as found:
        adopting.downgrade()
    assert clinic.SECRET not in str(found.value)
    assert clinic.stored(adopting.engine) == sealed
    run(adopting, "UPDATE patients SET ssn = NULL WHERE id = 7")
    run(adopting, "UPDATE patients SET email = 'changed' WHERE id = 8")
    adopting.downgrade()
    values = {row[0]: row[3] for row in clinic.stored(adopting.engine)}
    assert (values[7], values[8]) == (None, clinic.rows(8)[7]["ssn"])


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("id", "primary key"),
        ("doctor_id", "foreign key"),
        ("code", "check constraint"),
    ],
)
def test_what_would_not_come_back_is_refused_before_anything_changes(
    project: Project, column: str, reason: str
) -> None:
    metadata = MetaData()
    Table("doctors", metadata, Column("id", Integer, primary_key=True))
    Table(
        "visits",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("doctor_id", ForeignKey("doctors.id", name="fk_visits_doctor")),
        Column("code", Integer),
        CheckConstraint("code > 5", name="ck_visits_code"),
    )
    project.models(metadata)
    project.autogenerate()
    project.upgrade()
    with pytest.raises(ConfigurationError, match=rf"visits.{column}.*{reason}"):
        sealed_by(
            project,
            f"op.encrypt_column('visits', '{column}', EncryptedType(sa.Integer()), "
            "existing_type=sa.Integer())",
        )
    assert [one["name"] for one in inspect(project.engine).get_columns("visits")] == [
        "id",
        "doctor_id",
        "code",
    ]


def test_a_default_is_taken_away_and_put_back(project: Project) -> None:
    metadata = MetaData()
    Table(
        "notes",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("body", clinic.String(40), server_default="it's: 100%", nullable=False),
    )
    project.models(metadata)
    project.autogenerate()
    project.upgrade()
    run(project, "INSERT INTO notes (id) VALUES (1)")
    sealed = MetaData()
    Table(
        "notes",
        sealed,
        Column("id", Integer, primary_key=True),
        Column("body", clinic.EncryptedType(clinic.String(40)), nullable=False),
    )
    project.models(sealed)
    project.autogenerate()
    if project.engine.dialect.name == "sqlite":
        with pytest.raises(ConfigurationError, match=r"notes.body .* has a default"):
            project.upgrade()
        return
    project.upgrade()
    assert inspect(project.engine).get_columns("notes")[1]["default"] is None
    with project.engine.connect() as connection:
        assert connection.execute(select(sealed.tables["notes"].c.body)).scalar() == "it's: 100%"
    project.downgrade()
    run(project, "INSERT INTO notes (id) VALUES (2)")
    with project.engine.connect() as connection:
        values = connection.execute(text("SELECT body FROM notes ORDER BY id")).scalars().all()
    assert values == ["it's: 100%"] * 2


def test_a_scrubbed_file_holds_no_old_value(
    make_project: Callable[[str], Project], sqlite_database: Database
) -> None:
    project = make_project(sqlite_database.url)
    project.models(clinic.plain())
    project.autogenerate()
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(insert(project.metadata.tables["patients"]), clinic.rows(2000))
    project.options["rekey"] = {"rate": None}
    project.models(ssn_sealed())
    file = Path(str(project.engine.url.database))
    assert clinic.SECRET.encode() in file.read_bytes()
    sealed_by(project, ENCRYPT_SSN.format(", scrub=True"))
    assert clinic.SECRET.encode() not in file.read_bytes()


def test_a_connection_in_a_transaction_is_refused(sqlite_project: Project) -> None:
    sqlite_project.models(clinic.plain())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    with sqlite_project.engine.begin() as connection:
        options = {"keyring": sqlite_project.keyring}
        context = MigrationContext.configure(connection, opts=options)
        with pytest.raises(ConfigurationError, match=r"a connection that is in a transaction"):
            Operations(context).encrypt_column(  # type: ignore[attr-defined]
                "patients",
                "ssn",
                clinic.EncryptedType(clinic.String(40)),
                existing_type=clinic.String(40),
                tenant_column="clinic_id",
            )
