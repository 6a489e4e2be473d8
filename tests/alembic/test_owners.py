"""A table gets a tenant column, or loses it: its values move to the owners that they have from then on."""

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text

from sqlalchemy_cmk import ConfigurationError, EncryptedType, tenant_scope
from tests.alembic.conftest import Project

ROWS = [{"id": n, "clinic_id": ("acme", "globex")[n % 2], "ssn": f"s{n}"} for n in range(1, 9)]
ALL = [row["ssn"] for row in ROWS]
SEALED = EncryptedType(String(11))


def models(type_: Any, *, tenant: bool = True, column: bool = True) -> MetaData:
    """Patients: whether the model says whose they are, and whether the table has the column for it."""
    metadata = MetaData()
    columns = [Column("clinic_id", String(40), nullable=False, server_default="acme")] if column else []
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        *columns,
        Column("ssn", type_),
        info={"cmk_tenant": "clinic_id"} if tenant else {},
    )
    return metadata


def created(project: Project, metadata: MetaData, *, by_migration: bool = True) -> Project:
    """A project whose table has rows; without a migration nothing is noted of its sealed column."""
    project.options["rekey"] = {"rate": None}
    project.models(metadata)
    project.keyring.protect(metadata)
    if by_migration:
        project.autogenerate()
        project.upgrade()
    else:
        metadata.create_all(project.engine)
    table = metadata.tables["patients"]
    with project.engine.begin() as connection:
        rows = [{name: row[name] for name in table.columns.keys()} for row in ROWS]  # noqa: SIM118
        connection.execute(insert(table), rows)
    return project


def moved(project: Project, metadata: MetaData) -> str:
    """Autogenerate from new models, upgrade, and find nothing more."""
    project.models(metadata)
    found = project.autogenerate_all()
    project.upgrade()
    assert project.autogenerate() == ""
    return "".join(one.partition("def upgrade() -> None:")[2].partition("def downgrade")[0] for one in found)


def values(project: Project) -> list[Any]:
    project.keyring.protect(project.metadata)
    table = project.metadata.tables["patients"]
    with project.engine.connect() as connection:
        return [row.ssn for row in connection.execute(select(table).order_by(table.c.id))]


@pytest.mark.parametrize("by_migration", [True, False])
def test_a_tenant_column_moves_the_platforms_values_to_the_tenants(
    project: Project, by_migration: bool
) -> None:
    created(project, models(SEALED, tenant=False), by_migration=by_migration)
    assert moved(project, models(SEALED)).count("op.reencrypt(") == 1
    assert values(project) == ALL
    with project.engine.connect() as connection, tenant_scope("globex"):
        table = project.metadata.tables["patients"]
        query = select(table.c.ssn).where(table.c.clinic_id == "globex").order_by(table.c.id)
        assert connection.scalars(query).all() == ALL[::2]


def test_a_tenant_column_that_is_new_is_there_before_the_values_move(project: Project) -> None:
    created(project, models(SEALED, tenant=False, column=False))
    body = moved(project, models(SEALED))
    assert body.index("add_column('patients', sa.Column('clinic_id'") < body.index("op.reencrypt(")
    assert values(project) == ALL


def test_a_tenant_column_that_goes_is_dropped_after_the_values_have_moved(project: Project) -> None:
    created(project, models(SEALED))
    body = moved(project, models(SEALED, tenant=False, column=False))
    assert body.index("op.reencrypt(") < body.index("drop_column('patients', 'clinic_id')")
    assert values(project) == ALL


def test_values_of_tenants_that_no_migration_noted_are_not_noted_as_the_platforms(
    sqlite_project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project = created(sqlite_project, models(SEALED), by_migration=False)
    project.models(models(SEALED, tenant=False))
    assert "patients" not in project.autogenerate()
    assert "patients.ssn holds values of tenants, and the model names no tenant column" in caplog.text


def test_a_column_of_the_platform_in_a_tenants_table_takes_values_that_no_migration_noted(
    sqlite_project: Project,
) -> None:
    project = created(sqlite_project, models(SEALED), by_migration=False)
    assert "op.reencrypt(" in moved(project, models(EncryptedType(String(11), owner="platform")))
    assert values(project) == ALL


ENCRYPT = "op.encrypt_column('patients', 'ssn', {}, existing_type=sa.String(11){})"


@pytest.mark.parametrize("options", ["", ", mixed=True"])
def test_a_migration_that_forgets_the_tenant_column_is_refused(sqlite_project: Project, options: str) -> None:
    project = created(sqlite_project, models(String(11), tenant=False))
    project.models(models(EncryptedType(String(11), accept_plaintext=True)))
    project.revision(ENCRYPT.format("EncryptedType(sa.String(11))", options))
    with pytest.raises(ConfigurationError, match=r"patients\.ssn: the migration names no tenant col.*'clin"):
        project.upgrade()
    with project.engine.connect() as connection:
        assert connection.scalars(text("SELECT ssn FROM patients ORDER BY id")).all() == ALL


def test_a_migration_may_say_that_values_are_the_platforms(sqlite_project: Project) -> None:
    platforms = EncryptedType(String(11), owner="platform")
    project = created(sqlite_project, models(String(11), tenant=False))
    project.models(models(platforms))
    project.revision(ENCRYPT.format("EncryptedType(sa.String(11), owner='platform')", ""))
    project.upgrade()
    assert values(project) == ALL


def test_migrations_from_before_the_tenant_column_run_on_an_empty_table(sqlite_project: Project) -> None:
    project = sqlite_project
    project.models(models(String(11), tenant=False))
    project.autogenerate()
    project.upgrade()
    project.models(models(SEALED))
    project.revision(ENCRYPT.format("EncryptedType(sa.String(11))", ""))
    project.upgrade()
    assert project.autogenerate().count("op.reencrypt(") == 2
