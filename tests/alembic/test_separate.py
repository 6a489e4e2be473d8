"""Changes that a killed conversion could not run again are written to a migration of their own."""

import logging
from typing import Any

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, inspect, text

from sqlalchemy_cmk import EncryptedType
from tests.alembic.conftest import Project


def models(ssn: Any, *visits: Any) -> MetaData:
    metadata = MetaData()
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("ssn", ssn),
        info={"cmk_tenant": None},
    )
    Table("visits", metadata, Column("id", Integer, primary_key=True), *visits)
    return metadata


PLAIN, SEALED = String(11), EncryptedType(String(11))


@pytest.fixture
def filled(sqlite_project: Project) -> Project:
    """A project whose one table holds a value, and whose models are about to change."""
    sqlite_project.models(models(PLAIN))
    sqlite_project.autogenerate()
    sqlite_project.upgrade()
    with sqlite_project.engine.begin() as connection:
        connection.execute(text("INSERT INTO patients (ssn) VALUES ('078-05-1120')"))
    return sqlite_project


def test_an_unrelated_change_comes_first_in_a_migration_of_its_own(
    filled: Project, caplog: pytest.LogCaptureFixture
) -> None:
    filled.models(models(SEALED, Column("note", String(9)), Index("ix_note", "note")))
    with caplog.at_level(logging.INFO, "sqlalchemy_cmk"):
        other, sealing = filled.autogenerate_all()
    assert "op.add_column('visits'" in other and "op.create_index" in other and "encrypt_column" not in other
    assert "op.encrypt_column('patients', 'ssn'" in sealing and "visits" not in sealing
    assert "op.drop_column('visits', 'note')" in other and "op.decrypt_column" in sealing
    assert [one.doc for one in filled.revisions()[:2]] == ["found", "before found"]
    assert "before the one that seals columns: add column visits.note" in caplog.text
    filled.upgrade()
    assert filled.autogenerate() == ""
    filled.downgrade("-2")
    assert [column["name"] for column in inspect(filled.engine).get_columns("visits")] == ["id"]
    with filled.engine.connect() as connection:
        assert connection.scalar(text("SELECT ssn FROM patients")) == "078-05-1120"


def test_what_can_be_run_again_stays_beside_the_conversion(filled: Project) -> None:
    metadata = models(SEALED)
    Table("notes", metadata, Column("id", Integer, primary_key=True))
    filled.models(metadata)
    assert "if_not_exists=True" in filled.autogenerate()


def test_an_applications_own_directives_go_first(filled: Project) -> None:
    def name(context: Any, revision: Any, directives: Any) -> None:
        directives[0].rev_id = "0002"

    filled.options = {"process_revision_directives": name}
    filled.models(models(SEALED, Column("note", String(9))))
    filled.autogenerate_all()
    newest, before = filled.revisions()[:2]
    assert (before.revision, newest.down_revision) == ("0002", "0002")


def test_a_script_whose_parts_do_not_match_stays_whole_and_says_what_else_it_does(
    filled: Project, caplog: pytest.LogCaptureFixture
) -> None:
    def shorten(context: Any, revision: Any, directives: Any) -> None:
        directives[0].downgrade_ops.ops.pop()

    filled.options = {"process_revision_directives": shorten}
    filled.models(models(SEALED, Column("note", String(9))))
    text = filled.autogenerate()
    assert "add_column" in text and "encrypt_column" in text
    assert "run again when it is interrupted: add column visits.note" in caplog.text


def test_an_index_of_a_batch_is_no_reason_to_fail(filled: Project) -> None:
    filled.options = {"render_as_batch": True}
    filled.models(
        models(SEALED, Column("note", String(9), nullable=False, server_default=""), Index("ix", "note"))
    )
    other, _ = filled.autogenerate_all()
    assert "batch_op.create_index" in other and "create_index(batch_op.f" not in other
    filled.upgrade()
    assert filled.autogenerate() == ""
