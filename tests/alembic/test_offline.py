"""`alembic upgrade --sql`: the statements, and what they leave to a live database."""

import re

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import Engine, String, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.alembic.configuration import registry_table
from tests.alembic import clinic
from tests.alembic.conftest import Project

UPGRADE = (
    "op.encrypt_column('patients', 'ssn', EncryptedType(sa.String(40)), existing_type=sa.String(40), "
    "tenant_column='clinic_id')"
)


@pytest.fixture
def offline(project: Project) -> tuple[Project, str]:
    """A project with plain values, and what `--sql` writes for the migration that seals one column."""
    project.models(clinic.plain())
    project.autogenerate()
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(insert(project.metadata.tables["patients"]), clinic.rows(20))
    (first,) = (one.revision for one in project.revisions())
    project.revision(UPGRADE)
    return project, project.sql(f"{first}:head")


def run(engine: Engine, script: str, *, goes_on: bool = False, begins: bool = True) -> list[str]:
    """Run a script as `psql` and `mariadb` do, up to the first error, or on and on as `mariadb --force` does.

    Return what the database complained of. Without `begins` each statement commits by itself.
    """
    complaints = []
    script = re.sub(r"^--.*$", "", script, flags=re.MULTILINE)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in re.split(r";\s*\n\n", script):
            if not statement.strip() or (not begins and statement.strip() in ("BEGIN", "COMMIT")):
                continue
            try:
                connection.exec_driver_sql(statement.replace("%%", "%"))
            except DBAPIError as error:
                if not goes_on:
                    raise
                complaints.append(str(error.orig))
    return complaints


def test_the_script_says_which_steps_need_a_live_database(offline: tuple[Project, str]) -> None:
    project, script = offline
    assert "ssn__cmk" in script
    assert "-- patients.ssn: copying its values needs a live database and keys." in script
    if project.engine.dialect.name == "sqlite":
        assert "-- patients.ssn: on sqlite the columns change places online only." in script
        assert "DROP COLUMN" not in script
    else:
        assert "-- patients.ssn: indexes and unique constraints on the column go with it" in script
        assert "INSERT INTO cmk_columns" in script


def test_the_script_destroys_nothing_while_rows_are_not_copied(offline: tuple[Project, str]) -> None:
    project, script = offline
    if project.engine.dialect.name != "sqlite":
        with pytest.raises(DBAPIError):
            run(project.engine, script)
    else:
        run(project.engine, script)
    assert plain_values(project) == [row["ssn"] for row in clinic.rows(20)]


def plain_values(project: Project) -> list[str | None]:
    with project.engine.connect() as connection:
        return list(connection.execute(text("SELECT ssn FROM patients ORDER BY id")).scalars())


@pytest.mark.parametrize("begins", [True, False], ids=["in a transaction", "each by itself"])
def test_a_client_that_goes_on_after_errors_destroys_nothing_either(
    begins: bool, offline: tuple[Project, str]
) -> None:
    project, script = offline
    for _ in range(2):  # a script that shows errors is run again
        complaints = run(project.engine, script, goes_on=True, begins=begins)
        assert complaints or project.engine.dialect.name == "sqlite"
        assert plain_values(project) == [row["ssn"] for row in clinic.rows(20)]
        assert registered(project) == []


def registered(project: Project) -> list[str]:
    """The columns that are sealed, as far as the migrations know."""
    with project.engine.connect() as connection:
        table = registry_table(MigrationContext.configure(connection, opts={"keyring": project.keyring}))
        return list(connection.scalars(select(table.c.column_name)))


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_what_such_a_client_has_left_is_finished_online(offline: tuple[Project, str]) -> None:
    project, script = offline
    assert run(project.engine, script, goes_on=True, begins=False)
    with project.engine.begin() as connection:
        (first, _) = reversed([one.revision for one in project.revisions()])
        connection.execute(text("UPDATE alembic_version SET version_num = :first"), {"first": first})
    project.upgrade()
    assert registered(project) == ["ssn"]
    assert all(value is None or b"078-" not in bytes(value) for value in plain_values(project))


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_session_without_constraints_destroys_nothing(offline: tuple[Project, str]) -> None:
    project, script = offline
    script = f"SET check_constraint_checks = 0;\n\nSET sql_mode = '';\n\n{script}"
    assert run(project.engine, script, goes_on=True)
    assert plain_values(project) == [row["ssn"] for row in clinic.rows(20)]


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_what_was_copied_online_is_swapped_by_the_script(project: Project) -> None:
    project.models(clinic.plain())
    project.autogenerate()
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(insert(project.metadata.tables["patients"]), clinic.rows(20))
    expand, copy, swap = (f"{UPGRADE[:-1]}, phase='{one}')" for one in ("expand", "copy", "swap"))
    project.revision(expand)
    project.revision(copy)
    project.upgrade()
    project.revision(swap)
    head, before = (one.revision for one in project.revisions()[:2])
    assert run(project.engine, project.sql(f"{before}:{head}"), goes_on=True, begins=False) == []
    project.models(clinic.models(String(60), EncryptedType(String(40)), clinic.Date(), clinic.Numeric(8, 2)))
    table = project.metadata.tables["patients"]
    project.keyring.protect(project.metadata)
    with project.engine.connect() as connection:
        query = select(table.c.id, table.c.clinic_id, table.c.ssn).order_by(table.c.id)
        found = [row.ssn for row in connection.execute(query)]
        connection.execute(update(table).where(table.c.id == 1).values(email="changed"))  # no trigger is left
    assert found == [row["ssn"] for row in clinic.rows(20)]
    assert registered(project) == ["ssn"]
