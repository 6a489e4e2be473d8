"""`alembic upgrade --sql`: the statements, and what they leave to a live database."""

import re

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import DBAPIError

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


def run(engine: Engine, script: str) -> None:
    """Run a script as `psql` and `mariadb` do, up to the first error."""
    script = re.sub(r"^--.*$", "", script, flags=re.MULTILINE)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in re.split(r";\s*\n\n", script):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%%", "%"))


def test_the_script_says_which_steps_need_a_live_database(offline: tuple[Project, str]) -> None:
    project, script = offline
    assert "ssn__cmk" in script
    assert "-- patients.ssn: copying its values needs a live database and keys." in script
    if project.engine.dialect.name == "sqlite":
        assert "-- patients.ssn: on SQLite the columns change places online only." in script
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
    with project.engine.connect() as connection:
        plain = connection.execute(text("SELECT ssn FROM patients ORDER BY id")).scalars().all()
    assert plain == [row["ssn"] for row in clinic.rows(20)]
