"""Migrations on keys, what they write offline, and their inverses."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import render_python_code
from alembic.operations import ops
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, insert, select, text, update

from sqlalchemy_cmk import (
    ApprovalRequired,
    ConfigurationError,
    EncryptedType,
    KeyRevoked,
    UnsupportedOperation,
    tenant_scope,
)
from sqlalchemy_cmk.alembic.ops.tenant_keys import (
    AssignTenantKeyOp,
    DropRetiredDeksOp,
    RewrapKeysOp,
    RotateDekOp,
    ShredTenantOp,
)
from tests.alembic.conftest import Project
from tests.support.keys import adopt

TENANTS = ("acme", "globex")


def models(nullable: bool = True) -> MetaData:
    metadata = MetaData()
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("clinic_id", String(40), nullable=False),
        Column("ssn", EncryptedType(String(11)), nullable=nullable),
        info={"cmk_tenant": "clinic_id"},
    )
    Table("visits", metadata, Column("id", ForeignKey("patients.id"), primary_key=True))
    return metadata


@pytest.fixture
def clinic(project: Project) -> Project:
    project.models(models())
    project.autogenerate()
    project.upgrade()
    fill(project)
    return project


def fill(project: Project) -> None:
    project.keyring.warm(TENANTS, new=True)
    with project.engine.begin() as connection:
        rows = [{"clinic_id": tenant, "ssn": tenant} for tenant in TENANTS]
        connection.execute(insert(project.metadata.tables["patients"]), rows)


def migrate(project: Project, upgrade: str, downgrade: str = "pass") -> None:
    project.revision(upgrade, downgrade)
    project.upgrade()


def value(project: Project, tenant: str) -> Any:
    project.keyring.forget()
    table = project.metadata.tables["patients"]
    with tenant_scope(tenant), project.engine.connect() as connection:
        query = select(table.c.clinic_id, table.c.ssn).where(table.c.clinic_id == tenant)
        row = connection.execute(query).first()
        return None if row is None else row.ssn


def kek(project: Project, tenant: str) -> str:
    return next(line.kek_uri for line in project.keyring.status() if line.tenant == tenant)


def test_a_tenant_is_given_a_key_of_its_own_and_the_platforms_back(clinic: Project) -> None:
    migrate(
        clinic,
        "op.assign_tenant_key('acme', 'local:acme', fresh_dek=True)",
        "op.assign_tenant_key('acme', 'local:pmk')",
    )
    assert (kek(clinic, "acme"), kek(clinic, "globex")) == ("local:acme", "local:pmk")
    assert value(clinic, "acme") == "acme"
    clinic.downgrade()
    assert kek(clinic, "acme") == "local:pmk"
    assert value(clinic, "acme") == "acme"


def test_deks_are_rotated_and_rewrapped_and_values_still_open(clinic: Project) -> None:
    clinic.provider.rotate("local:pmk")
    migrate(clinic, "op.rewrap_keys(); op.rotate_dek('acme')", "op.nothing_to_undo('the new DEK stays')")
    (line,) = (line for line in clinic.keyring.status() if line.tenant == "acme")
    (under,) = line.keks
    assert (line.active, line.retired, len(under.versions)) == (1, 1, 1)
    assert value(clinic, "acme") == "acme"
    clinic.downgrade()
    assert value(clinic, "acme") == "acme"


def test_a_retired_dek_is_kept_while_rows_or_other_processes_need_it(clinic: Project) -> None:
    migrate(clinic, "op.rotate_dek('acme')")
    with pytest.raises(ConfigurationError, match="1 retired DEKs of tenant 'acme' were kept"):
        migrate(clinic, "op.drop_retired_deks('acme')")
    assert value(clinic, "acme") == "acme"


def test_archives_keep_a_dek_until_the_migration_ignores_them(clinic: Project) -> None:
    with clinic.engine.begin() as connection:
        connection.execute(text("CREATE TABLE archive AS SELECT * FROM patients"))
        connection.execute(text("DELETE FROM patients"))
    clinic.keyring.lifecycle.rotate_dek("acme")
    with clinic.engine.begin() as connection:
        deks = clinic.keyring.database.tables.deks
        long_ago = {"retired_at": datetime(2020, 1, 1, tzinfo=UTC)}
        connection.execute(update(deks).where(deks.c.retired_at.is_not(None)).values(long_ago))
    adopt(clinic.keyring)
    with pytest.raises(ConfigurationError, match=r"archive\.ssn \(of no model: see --ignore\): 1 row"):
        migrate(clinic, "op.drop_retired_deks('acme')")
    revision = clinic.revisions()[0]
    path = Path(revision.path)
    path.write_text(path.read_text().replace("('acme')", "('acme', ignoring=['archive'])"))
    clinic.upgrade()
    (line,) = (line for line in clinic.keyring.status() if line.tenant == "acme")
    assert line.retired == 0


@pytest.mark.parametrize(("rows", "left"), [("null", 1), ("delete", 0), ("keep", 1)])
def test_a_shredded_tenants_rows_are_emptied_deleted_or_kept(
    sqlite_project: Project, rows: str, left: int
) -> None:
    sqlite_project.models(models())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    fill(sqlite_project)
    migrate(
        sqlite_project,
        f"op.shred_tenant('acme', rows='{rows}', confirm='acme')",
        "op.refuse_downgrade('acme was shredded')",
    )
    patients = sqlite_project.metadata.tables["patients"]
    with sqlite_project.engine.connect() as connection:
        names = connection.execute(select(patients.c.clinic_id)).scalars().all()
    assert names.count("acme") == left
    if rows == "keep":
        with pytest.raises(KeyRevoked):
            value(sqlite_project, "acme")
    else:
        assert value(sqlite_project, "acme") is None
    assert value(sqlite_project, "globex") == "globex"
    with pytest.raises(UnsupportedOperation, match="this migration cannot be undone: acme was shredded"):
        sqlite_project.downgrade()


@pytest.mark.parametrize("rows", ["null", "delete"])
def test_the_shredded_tenants_rows_alone_are_touched_whatever_the_collation(
    clinic: Project, rows: str
) -> None:
    patients = clinic.metadata.tables["patients"]
    with clinic.engine.begin() as connection:
        connection.execute(insert(patients), [{"clinic_id": "ACME", "ssn": "ACME"}])
    migrate(clinic, f"op.shred_tenant('acme', rows='{rows}', confirm='acme')")
    clinic.keyring.forget()
    with clinic.engine.connect() as connection:
        found = dict(connection.execute(select(patients.c.clinic_id, patients.c.ssn)).all())
    kept = {"ACME": "ACME", "globex": "globex"}
    assert found == (kept if rows == "delete" else {**kept, "acme": None})


def test_nothing_is_shredded_where_the_rows_could_not_be_emptied(sqlite_project: Project) -> None:
    sqlite_project.models(models(nullable=False))
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    fill(sqlite_project)
    with pytest.raises(ConfigurationError, match=r"nothing was shredded: patients.ssn takes no NULL"):
        migrate(sqlite_project, "op.shred_tenant('acme', confirm='acme')")
    assert value(sqlite_project, "acme") == "acme"


def test_shredding_asks_for_the_name_again(sqlite_project: Project) -> None:
    sqlite_project.models(models())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    fill(sqlite_project)
    with pytest.raises(ConfigurationError, match="confirm= the tenant's name"):
        migrate(sqlite_project, "op.shred_tenant('acme', confirm='globex')")
    assert value(sqlite_project, "acme") == "acme"


@pytest.mark.parametrize(
    ("operation", "inverse"),
    [
        (RewrapKeysOp(None), "op.nothing_to_undo('the DEKs of all tenants open as well by the newer"),
        (RotateDekOp("acme"), "op.nothing_to_undo(\"the new DEK of tenant 'acme' stays"),
        (AssignTenantKeyOp("acme", "local:a"), "op.refuse_downgrade(\"the KEK that tenant 'acme' had"),
        (
            AssignTenantKeyOp("acme", "local:a", existing_kek="local:b"),
            "op.assign_tenant_key('acme', 'local:b', existing_kek='local:a')",
        ),
        (
            ShredTenantOp("acme", confirm="acme"),
            "op.refuse_downgrade(\"the keys of tenant 'acme' were destroyed",
        ),
        (DropRetiredDeksOp(None), "op.refuse_downgrade('retired DEKs of all tenants were destroyed')"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_inverse_is_the_way_back_a_note_or_a_refusal(operation: Any, inverse: str) -> None:
    assert inverse in render_python_code(ops.UpgradeOps([operation.reverse()]))


def test_offline_migrations_on_keys_say_that_they_need_a_live_database(sqlite_project: Project) -> None:
    sqlite_project.models(models())
    sqlite_project.revision("op.rotate_dek('acme'); op.shred_tenant('acme', confirm='acme')")
    text = sqlite_project.sql()
    assert "-- RotateDekOp for tenant 'acme' needs a live database and keys: run this online" in text
    assert "-- ShredTenantOp" in text


def test_a_migration_waits_for_a_second_person_and_goes_on_when_it_runs_again(
    sqlite_project: Project,
) -> None:
    sqlite_project.keyring_options = {"two_people": ["assign"], "actor": "ann"}
    sqlite_project.models(models())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    keyring = sqlite_project.keyring
    keyring.assign("acme", "local:acme")
    sqlite_project.revision("op.assign_tenant_key('acme', 'local:pmk')")
    with pytest.raises(ApprovalRequired) as caught:
        sqlite_project.upgrade()
    assert kek(sqlite_project, "acme") == "local:acme"
    with keyring.because("looked at it", actor="bob"):
        keyring.approvals.approve(caught.value.request)
    sqlite_project.upgrade()
    assert kek(sqlite_project, "acme") == "local:pmk"
