"""Several columns of a table, sealed and opened in one pass through its rows."""

import re
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Date, String, create_engine, text

from sqlalchemy_cmk import ConfigurationError, EncryptedType, tenant_scope
from sqlalchemy_cmk.alembic.ops.convert import DecryptColumnOp, EncryptColumnOp, Options
from sqlalchemy_cmk.alembic.ops.convert_columns import DecryptColumnsOp, EncryptColumnsOp
from tests.alembic import clinic
from tests.alembic.conftest import Project

ENCRYPT = """op.encrypt_columns(
        "patients",
        {
            "email": EncryptedType(sa.String(60), deterministic=True),
            "ssn": EncryptedType(sa.String(40)),
            "born": EncryptedType(sa.Date()),
            "debt": EncryptedType(sa.Numeric(8, 2)),
        },
        existing_types={
            "email": sa.String(60), "ssn": sa.String(40), "born": sa.Date(), "debt": sa.Numeric(8, 2)
        },
        existing_nullable={"email": False, "born": False},
        tenant_column="clinic_id",
        **OPTIONS,
    )"""
DECRYPT = """op.decrypt_columns(
        "patients",
        {"email": sa.String(60), "ssn": sa.String(40), "born": sa.Date(), "debt": sa.Numeric(8, 2)},
        existing_types={
            "email": EncryptedType(sa.String(60), deterministic=True),
            "ssn": EncryptedType(sa.String(40)),
            "born": EncryptedType(sa.Date()),
            "debt": EncryptedType(sa.Numeric(8, 2)),
        },
        existing_nullable={"email": False, "born": False},
        tenant_column="clinic_id",
    )"""


def encrypt(**options: Any) -> str:
    return ENCRYPT.replace("**OPTIONS", f"**{options!r}")


@pytest.fixture
def adopting(project: Project) -> Project:
    """A project whose table of plain values is about to be sealed: the models say so already."""
    clinic.make_plain(project, 100)
    project.models(clinic.sealed())
    return project


def rows_read(caplog: pytest.LogCaptureFixture) -> list[int]:
    found = (re.search(r"(\d+) rows read", one.getMessage()) for one in caplog.records)
    return [int(one[1]) for one in found if one and one[1] != "0"]


def test_rows_are_copied_once_for_all_columns_and_come_back_as_they_were(
    adopting: Project, caplog: pytest.LogCaptureFixture
) -> None:
    before, shape = clinic.stored(adopting.engine), clinic.shape(adopting.engine)
    adopting.revision(encrypt(), DECRYPT)
    with caplog.at_level("INFO"):
        adopting.upgrade()
    assert rows_read(caplog) == [100]
    assert clinic.SECRET not in repr(clinic.stored(adopting.engine))
    assert adopting.autogenerate() == ""
    adopting.downgrade()
    assert clinic.stored(adopting.engine) == before
    assert clinic.shape(adopting.engine) == shape


def test_what_a_killed_migration_has_converted_is_left_alone(adopting: Project) -> None:
    adopting.revision(encrypt(), DECRYPT)
    adopting.upgrade()
    sealed = clinic.stored(adopting.engine)
    with adopting.engine.begin() as connection:
        (previous,) = (one.down_revision for one in adopting.revisions() if one.is_head)
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": previous})
    adopting.upgrade()
    assert clinic.stored(adopting.engine) == sealed


def test_each_phase_is_that_of_all_columns(adopting: Project) -> None:
    adopting.revision(encrypt(phase="expand"))
    adopting.upgrade()
    shadows = [name for name in clinic.shape(adopting.engine)["columns"] if name.endswith("__cmk")]
    assert sorted(shadows) == ["born__cmk", "debt__cmk", "email__cmk", "ssn__cmk"]
    adopting.revision(encrypt(phase="copy"))
    adopting.upgrade()
    with adopting.engine.begin() as connection:
        connection.execute(text("UPDATE patients SET ssn = 'changed' WHERE id = 1"))
    adopting.revision(encrypt(phase="swap"))
    adopting.upgrade()
    table = adopting.metadata.tables["patients"]
    adopting.keyring.protect(adopting.metadata)
    with adopting.engine.connect() as connection, tenant_scope("globex"):
        found = connection.execute(table.select().where(table.c.id == 1)).one()
    assert (found.ssn, found.born) == ("changed", clinic.rows(1)[0]["born"])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_columns_bound_to_their_row_are_copied_beside_others(project: Project) -> None:
    clinic.make_plain(project, 10)
    bound = EncryptedType(String(40), row_bound=True)
    metadata = clinic.models(String(60), bound, EncryptedType(Date()), clinic.Numeric(8, 2))
    metadata.tables["patients"].info["cmk_row"] = ["clinic_id", "id"]
    project.models(metadata)
    project.revision(
        """op.encrypt_columns(
        "patients",
        {"born": EncryptedType(sa.Date()), "ssn": EncryptedType(sa.String(40), row_bound=True)},
        existing_types={"born": sa.Date(), "ssn": sa.String(40)},
        existing_nullable={"born": False},
        tenant_column="clinic_id",
        row_columns=["clinic_id", "id"],
    )"""
    )
    project.upgrade()
    project.keyring.protect(metadata)
    table = metadata.tables["patients"]
    with project.engine.connect() as connection, tenant_scope("globex"):
        query = table.select().where(table.c.clinic_id == "globex").order_by(table.c.id)
        found = [(row.born, row.ssn) for row in connection.execute(query)]
    assert found == [(row["born"], row["ssn"]) for row in clinic.rows(10) if row["clinic_id"] == "globex"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"types": {}, "existing_types": {}}, "name the same columns"),
        ({"existing_types": {}}, "name the same columns"),
        ({"existing_nullable": {"snn": False}}, "the columns snn have no type"),
        ({"types": {"ssn": String(40)}}, "is an EncryptedType"),
        ({"existing_types": {"ssn": EncryptedType(String(40))}}, "the type of the plain values"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: dict[str, Any], reason: str) -> None:
    given = {"types": {"ssn": EncryptedType(String(40))}, "existing_types": {"ssn": String(40)}, **arguments}
    operations: Any = Operations(MigrationContext.configure(create_engine("sqlite://").connect()))
    with pytest.raises(ConfigurationError, match=reason):
        operations.encrypt_columns("patients", **given)


def test_each_undoes_the_other() -> None:
    ssn = "patients", "ssn", EncryptedType(String(40)), String(40), Options(default="'none'", phase="swap")
    born = "patients", "born", EncryptedType(Date()), Date(), Options(phase="swap")
    undone = EncryptColumnsOp([EncryptColumnOp(*ssn), EncryptColumnOp(*born)]).reverse()
    assert isinstance(undone, DecryptColumnsOp)
    assert undone.to_diff_tuple() == ("DecryptColumnsOp", None, "patients", "ssn", "born")
    first = undone.conversions[0]
    assert isinstance(first, DecryptColumnOp)
    assert (first.options.phase, first.options.default) == ("all", "'none'")
    assert isinstance(first.type_, String) and isinstance(first.existing_type, EncryptedType)
    again = undone.reverse()
    assert isinstance(again, EncryptColumnsOp) and isinstance(again.conversions[1], EncryptColumnOp)
