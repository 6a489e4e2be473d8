"""Row-bound columns and columns of the platform, made, changed and undone by migrations."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, Uuid, insert, select, text

from sqlalchemy_cmk import ConfigurationError, EncryptedType, TamperedError
from tests.alembic.conftest import Project

ROWS = [
    {"id": n + 1, "clinic_id": ("acme", "globex")[n % 2], "public_id": uuid.UUID(int=n), "ssn": f"s{n}"}
    for n in range(20)
]


def models(type_: Any, tenant: str = "clinic_id", **info: Any) -> MetaData:
    metadata = MetaData()
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column(tenant, String(40), nullable=False),
        Column("public_id", Uuid(), nullable=False),
        Column("ssn", type_),
        info={"cmk_tenant": tenant, **info},
    )
    return metadata


def ssn(**options: Any) -> EncryptedType:
    return EncryptedType(String(11), **options)


def made(project: Project, metadata: MetaData) -> Project:
    """A project whose table was made by a migration and has rows."""
    project.options["rekey"] = {"rate": None, "chunk": 7}
    project.models(metadata)
    project.autogenerate()
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(insert(metadata.tables["patients"]), ROWS)
    return project


def values(project: Project) -> list[Any]:
    project.keyring.protect(project.metadata)
    table = project.metadata.tables["patients"]
    with project.engine.connect() as connection:
        return [row.ssn for row in connection.execute(select(table).order_by(table.c.id))]


def stored(project: Project) -> list[Any]:
    with project.engine.connect() as connection:
        return list(connection.execute(text("SELECT ssn FROM patients ORDER BY id")).scalars())


def scheme(project: Project) -> dict[str, Any]:
    with project.engine.connect() as connection:
        return json.loads(connection.execute(text("SELECT scheme FROM cmk_columns")).scalar_one())  # type: ignore[no-any-return]


def migrate(project: Project, metadata: MetaData) -> str:
    """Autogenerate from new models and upgrade; nothing more is found then. The body of `upgrade`."""
    project.models(metadata)
    found = project.autogenerate()
    project.upgrade()
    assert project.autogenerate() == ""
    return " ".join(found.partition("def upgrade() -> None:")[2].partition("# ### end")[0].split())


def forget_newest(project: Project) -> None:
    """Delete the newest migration, which is not applied."""
    (head,) = (one for one in project.revisions() if one.is_head)
    Path(head.path).unlink()


def nothing_is_found(project: Project) -> bool:
    """Whether the database is what the models say, after a downgrade."""
    forget_newest(project)
    return project.autogenerate() == ""


ALL = [row["ssn"] for row in ROWS]
OF_CLINIC = "tenant_column='clinic_id'"
BY_KEY = "row_columns=('id',)"
BY_COLUMN = "row_columns={'public_id': sa.Uuid()}"


@pytest.mark.parametrize(
    ("info", "named"), [({}, BY_KEY), ({"cmk_row": ("public_id",)}, BY_COLUMN)], ids=["key", "column"]
)
def test_a_plain_column_becomes_row_bound_and_plain_again(
    project: Project, info: dict[str, Any], named: str
) -> None:
    plain = made(project, models(String(11)))
    before = stored(plain)
    body = migrate(plain, models(ssn(row_bound=True), **info))
    assert "op.encrypt_column('patients', 'ssn', EncryptedType(sa.String(length=11), row_bound=True)" in body
    assert f"tenant_column='clinic_id', {named})" in body
    assert scheme(plain)["row_bound"] is True
    assert values(plain) == ALL
    plain.downgrade()
    assert stored(plain) == before


@pytest.mark.parametrize(
    ("info", "named"), [({}, BY_KEY), ({"cmk_row": ("public_id",)}, BY_COLUMN)], ids=["key", "column"]
)
def test_a_sealed_column_is_bound_to_its_rows_in_place_and_loosened_by_downgrade(
    project: Project, info: dict[str, Any], named: str
) -> None:
    loose = models(ssn())
    made(project, loose)
    body = migrate(project, models(ssn(row_bound=True), **info))
    assert "op.reencrypt('patients', 'ssn', type_=EncryptedType(sa.String(length=11), row_bound=True)" in body
    assert f"existing_type=EncryptedType(sa.String(length=11)), tenant_column='clinic_id', {named})" in body
    assert values(project) == ALL
    project.downgrade()
    project.models(loose)
    assert values(project) == ALL and nothing_is_found(project)


def test_row_bound_is_switched_off(project: Project) -> None:
    bound = models(ssn(row_bound=True), cmk_row=("public_id",))
    made(project, bound)
    body = migrate(project, models(ssn()))
    assert (
        f"existing_type=EncryptedType(sa.String(length=11), row_bound=True), {OF_CLINIC}, {BY_COLUMN}" in body
    )
    assert values(project) == ALL
    project.downgrade()
    project.models(bound)
    assert values(project) == ALL


def test_another_row_identity_binds_every_value_anew(project: Project) -> None:
    by_key = models(ssn(row_bound=True))
    made(project, by_key)
    body = migrate(project, models(ssn(row_bound=True), cmk_row=("public_id",)))
    assert f"{OF_CLINIC}, {BY_COLUMN}, existing_row_columns=('id',))" in body
    assert "# if id was only renamed to public_id, values stay as they are" in body
    assert values(project) == ALL
    project.downgrade()
    project.models(by_key)
    assert values(project) == ALL and nothing_is_found(project)


def test_a_deterministic_column_becomes_row_bound_through_a_column_of_its_own(project: Project) -> None:
    made(project, models(ssn(deterministic=True)))
    migrate(project, models(ssn(row_bound=True)))
    assert values(project) == ALL
    project.downgrade()
    project.models(models(ssn(deterministic=True)))
    assert values(project) == ALL


def move_one(project: Project) -> None:
    with project.engine.begin() as connection:
        connection.execute(text("CREATE TABLE moved AS SELECT ssn FROM patients WHERE id = 1"))
        connection.execute(text("UPDATE patients SET ssn = (SELECT ssn FROM moved) WHERE id = 3"))


def test_a_value_that_was_moved_to_another_row_stops_a_migration(project: Project) -> None:
    made(project, models(ssn(row_bound=True)))
    move_one(project)
    project.revision("op.rotate_dek('acme'); op.reencrypt('patients', 'ssn')")
    with pytest.raises(TamperedError, match=r"1 values do not open.*ssn of the row with key \[3\]"):
        project.upgrade()
    forget_newest(project)
    project.models(models(ssn()))
    project.autogenerate_all()  # the first drops the table, which no model has
    with pytest.raises(TamperedError, match=r"ssn of the row with key \[3\]"):
        project.upgrade()


@pytest.mark.parametrize("to_platform", [True, False])
def test_a_column_changes_its_owner_and_back(project: Project, to_platform: bool) -> None:
    kinds = [ssn(), ssn(owner="platform")]
    before, after = kinds if to_platform else reversed(kinds)
    old = models(before)
    made(project, old)
    body = migrate(project, models(after))
    assert "op.reencrypt('patients', 'ssn', type_=EncryptedType(sa.String(length=11)" in body
    assert body.count("owner='platform'") == 1 and body.rstrip("_ ").endswith(f"{OF_CLINIC})")
    assert values(project) == ALL
    project.downgrade()
    project.models(old)
    assert values(project) == ALL and nothing_is_found(project)


def test_a_table_of_the_platform_becomes_the_tenants(project: Project) -> None:
    platforms = models(ssn())
    platforms.tables["patients"].info.pop("cmk_tenant")
    made(project, platforms)
    body = migrate(project, models(ssn()))
    assert "existing_type=EncryptedType(sa.String(length=11), owner='platform'), tenant_column=" in body
    assert values(project) == ALL
    project.downgrade()
    assert len({value[1:9] for value in map(bytes, stored(project))}) == 1


def test_a_renamed_tenant_column_is_noted_and_no_value_is_touched(project: Project) -> None:
    made(project, models(ssn()))
    before = stored(project)
    project.revision(
        "op.alter_column('patients', 'clinic_id', new_column_name='tenant', existing_type=sa.String(40), "
        "existing_nullable=False)"
    )
    project.upgrade()
    body = migrate(project, models(ssn(), tenant="tenant"))
    type_ = "EncryptedType(sa.String(length=11))"
    assert f"op.register_sealed_column('patients', 'ssn', {type_}, tenant_column='tenant')" in body
    project.revision("op.reencrypt('patients')")
    project.upgrade()
    assert stored(project) == before and values(project) == ALL
    project.downgrade("-2")
    assert scheme(project)["tenant_column"] == "clinic_id"


def test_a_plain_column_becomes_the_platforms(project: Project) -> None:
    made(project, models(String(11)))
    before = stored(project)
    migrate(project, models(ssn(owner="platform")))
    assert len({value[1:9] for value in map(bytes, stored(project))}) == 1
    assert values(project) == ALL
    project.downgrade()
    assert stored(project) == before


def test_reencrypt_takes_the_row_identity_from_the_table_of_sealed_columns(project: Project) -> None:
    made(project, models(ssn(row_bound=True), cmk_row=("public_id",)))
    before = {value[1:9] for value in map(bytes, stored(project))}
    project.revision("op.rotate_dek('acme'); op.reencrypt('patients', tenant='acme')")
    project.upgrade()
    assert len({value[1:9] for value in map(bytes, stored(project))} - before) == 1
    assert values(project) == ALL


def test_a_change_of_the_scheme_that_was_killed_is_run_again(project: Project) -> None:
    made(project, models(ssn()))
    project.models(models(ssn(row_bound=True)))
    project.autogenerate()
    with project.engine.connect() as connection:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    project.upgrade()
    sealed = stored(project)
    with project.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})
    project.upgrade()
    assert stored(project) == sealed and values(project) == ALL


@pytest.mark.parametrize(
    "written", ["no JSON", "{}", '{"type": 1}', '{"type": "x", "context": 5}', '{"type": "x", "owner": "me"}']
)
def test_a_row_that_no_migration_has_written_is_named(sqlite_project: Project, written: str) -> None:
    made(sqlite_project, models(ssn()))
    with sqlite_project.engine.begin() as connection:
        connection.execute(text("UPDATE cmk_columns SET scheme = :scheme"), {"scheme": written})
    with pytest.raises(ConfigurationError, match=r"does not say how patients.ssn is sealed"):
        sqlite_project.autogenerate()


def test_names_may_hold_dots(sqlite_project: Project) -> None:
    metadata = MetaData()
    key: Callable[[], Column[Any]] = lambda: Column("id", Integer, primary_key=True)  # noqa: E731
    Table("a.b", metadata, key(), Column("c.d", ssn()))
    sqlite_project.models(metadata)
    assert "op.register_sealed_column('a.b', 'c.d'" in sqlite_project.autogenerate()
    sqlite_project.upgrade()
    assert sqlite_project.autogenerate() == ""
