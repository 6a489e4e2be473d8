"""The key tables are one line of a migration, which says how far it is."""

import logging

import pytest
from sqlalchemy import insert, inspect, text

from sqlalchemy_cmk.alembic import jobs
from tests.alembic import clinic
from tests.alembic.conftest import Project


def key_tables(project: Project) -> set[str]:
    return {one for one in inspect(project.engine).get_table_names() if one.startswith("cmk_")}


def test_they_are_made_and_dropped_by_one_operation(sqlite_project: Project) -> None:
    sqlite_project.models(clinic.sealed())
    written = sqlite_project.autogenerate()
    assert written.count("cmk_") == 0 and written.count("_key_tables()") == 2
    assert "CREATE TABLE IF NOT EXISTS cmk_wrappings" in sqlite_project.sql()
    with sqlite_project.engine.begin() as connection:  # killed before, and run again
        sqlite_project.metadata.tables["cmk_audit"].create(connection)
    sqlite_project.upgrade()
    assert key_tables(sqlite_project) == {
        one for one in sqlite_project.metadata.tables if one.startswith("cmk_")
    }
    assert sqlite_project.autogenerate() == ""
    sqlite_project.downgrade()
    assert key_tables(sqlite_project) == set()


def test_where_one_is_missing_no_operation_is_written_whose_reverse_drops_all(
    sqlite_project: Project,
) -> None:
    sqlite_project.models(clinic.sealed())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    with sqlite_project.engine.begin() as connection:
        connection.execute(text("DROP TABLE cmk_audit_head"))
    written = sqlite_project.autogenerate()
    assert "op.create_table('cmk_audit_head'" in written and "key_tables()" not in written


def test_a_migration_says_how_far_it_is(
    sqlite_project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "PROGRESS_SECONDS", 0)
    sqlite_project.models(clinic.plain())
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    with sqlite_project.engine.begin() as connection:
        connection.execute(insert(sqlite_project.metadata.tables["patients"]), clinic.rows(3))
    sqlite_project.models(clinic.sealed())
    sqlite_project.autogenerate()
    with caplog.at_level(logging.INFO, "alembic"):
        sqlite_project.upgrade()
    assert "3 of about 3 rows" in caplog.text
