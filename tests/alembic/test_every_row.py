"""A migration replaces no column of a table of which it does not see every row."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from sqlalchemy_cmk import ConfigurationError
from tests.alembic import clinic
from tests.alembic.conftest import Project
from tests.support.databases import Database
from tests.support.roles import isolate, owner_of

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def adopting(project: Project) -> list[Any]:
    """Make a table of plain values that the next migration seals, and return what it holds."""
    clinic.make_plain(project, 20)
    before = clinic.stored(project.engine)
    project.models(clinic.sealed())
    project.autogenerate()
    return before


def test_policies_keep_a_column_from_being_sealed(
    database: Database, make_project: Callable[[str], Project]
) -> None:
    admin = create_engine(database.url)
    with owner_of(database) as url:
        project = make_project(url)
        before, shape = adopting(project), clinic.shape(admin)
        with project.engine.begin() as connection:
            for statement in isolate("patients", "clinic_id"):
                connection.execute(text(statement))
        with pytest.raises(ConfigurationError, match="patients has row level security"):
            project.upgrade()
        assert (clinic.stored(admin), clinic.shape(admin)) == (before, shape)
        with project.engine.begin() as connection:
            connection.execute(text("ALTER TABLE patients NO FORCE ROW LEVEL SECURITY"))
        project.upgrade()
        assert not any(clinic.SECRET in str(row) for row in clinic.stored(admin))
        project.close()
        project.engine.dispose()
    admin.dispose()


def test_a_column_whose_rows_are_not_all_counted_stays(project: Project) -> None:
    """The net behind the others: what hides rows here is nothing that is asked about."""
    before = adopting(project)

    real = "SELECT count(*) AS count_1 \nFROM patients"

    def look(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> Any:
        return (f"{statement} WHERE id > 100" if statement.strip() == real else statement), parameters

    event.listen(Engine, "before_cursor_execute", look, retval=True)
    try:
        with pytest.raises(ConfigurationError, match=r"patients: 0 rows were seen, and .* statistics say 20"):
            project.upgrade()
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert [row[:6] for row in clinic.stored(project.engine)] == [row[:6] for row in before]


def test_a_name_that_means_another_table_to_the_keyring_is_refused(project: Project) -> None:
    before = adopting(project)
    with project.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA front"))
        connection.execute(text("CREATE TABLE front.patients (LIKE patients INCLUDING ALL)"))
    project.options["version_table_schema"] = "public"
    project.session.append("SET search_path = front, public")
    with pytest.raises(ConfigurationError, match="one table to the migration and another one to the keyring"):
        project.upgrade()
    assert clinic.stored(project.engine) == before
