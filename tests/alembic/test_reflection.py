"""Tables read from the database: what they hold is bytes until `apply_to` gives them their types back."""

import uuid
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    insert,
    select,
)
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    TamperedError,
    UnsupportedOperation,
    tenant_scope,
)
from tests.alembic.conftest import Project

SSN = "078-05-1120"
HISTORY = {"asthma": [1, None]}


def clinic() -> MetaData:
    """Tenants' rows, those of tenants that a UUID names, and the platform's own."""
    metadata = MetaData()
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("clinic_id", String(40), nullable=False),
        Column("ssn", String(11)),
        Column("history", JSON),
        info={"cmk_tenant": "clinic_id"},
    )
    Table(
        "visits",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("clinic", Uuid, nullable=False),
        Column("note", String(40)),
        info={"cmk_tenant": "clinic"},
    )
    Table(
        "settings",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("token", String(40)),
        info={"cmk_tenant": None},
    )
    return metadata


SEALED = {
    ("patients", "ssn"): lambda: EncryptedType(String(11), deterministic=True),
    ("patients", "history"): lambda: EncryptedType(JSON, row_bound=True),
    ("visits", "note"): lambda: EncryptedType(String(40), row_bound=True),
    ("settings", "token"): lambda: EncryptedType(String(40)),
}


@pytest.fixture
def adopted(project: Project) -> Project:
    """A project on each database whose tables were full of plain values, and are sealed."""
    return adopt(project)


def adopt(project: Project) -> Project:
    project.models(clinic())
    project.autogenerate()
    project.upgrade()
    rows: dict[str, dict[str, Any]] = {
        "patients": {"id": 1, "clinic_id": "acme", "ssn": SSN, "history": HISTORY},
        "visits": {"id": uuid.UUID(int=1), "clinic": uuid.UUID(int=7), "note": "a cold"},
        "settings": {"id": 1, "token": "a token"},
    }
    with project.engine.begin() as connection:
        for name, row in rows.items():
            connection.execute(insert(project.metadata.tables[name]), [row])
    sealed = clinic()
    for (table, column), type_ in SEALED.items():
        old = sealed.tables[table].c[column]
        sealed.tables[table].append_column(
            Column(column, type_(), nullable=old.nullable), replace_existing=True
        )
    project.models(sealed)
    project.autogenerate()
    project.upgrade()
    return project


def reflected(project: Project) -> MetaData:
    metadata = MetaData()
    metadata.reflect(project.engine)
    return metadata


def test_a_dump_of_reflected_tables_is_bytes_and_a_text_written_to_one_is_refused(adopted: Project) -> None:
    tables = reflected(adopted).tables
    with adopted.engine.connect() as connection:
        for table, column in SEALED:
            (stored,) = connection.scalars(select(tables[table].c[column]))
            assert bytes(stored)[0] in (1, 2)
        plain = insert(tables["settings"]).values(id=2, token="a plain text")
        with pytest.raises((StatementError, TypeError)):
            connection.execute(plain)
        connection.rollback()
        assert len(connection.execute(select(tables["settings"].c.id)).all()) == 1


def test_reflected_tables_are_read_and_written_as_the_models_do(adopted: Project) -> None:
    metadata = reflected(adopted)
    adopted.keyring.apply_to(metadata)
    adopted.keyring.apply_to(metadata)
    patients, visits, settings = (metadata.tables[name] for name in ("patients", "visits", "settings"))
    with adopted.engine.begin() as connection:
        assert connection.execute(select(patients)).one() == (1, "acme", SSN, HISTORY)
        assert connection.execute(select(visits)).one() == (uuid.UUID(int=1), uuid.UUID(int=7), "a cold")
        assert connection.execute(select(settings)).one() == (1, "a token")
        with tenant_scope("acme"):
            assert connection.scalars(select(patients.c.id).where(patients.c.ssn == SSN)).all() == [1]
    adopted.keyring.warm(["globex"], ["randomized", "deterministic"], new=True)
    with adopted.engine.begin() as connection:
        row = {"id": 2, "clinic_id": "globex", "ssn": "219-09-9999", "history": []}
        connection.execute(insert(patients), [row])
    ours = adopted.metadata.tables["patients"]
    adopted.keyring.protect(adopted.metadata)
    with adopted.engine.begin() as connection:
        assert connection.execute(select(ours).where(ours.c.id == 2)).one() == tuple(row.values())


def test_automapped_classes_have_sealed_attributes(adopted: Project) -> None:
    metadata = reflected(adopted)
    adopted.keyring.apply_to(metadata)
    base: Any = automap_base(metadata=metadata)
    base.prepare()
    adopted.keyring.warm(["acme"], ["randomized", "deterministic"], new=True)
    with Session(adopted.engine) as session:
        assert session.scalars(select(base.classes.patients)).one().ssn == SSN
        session.add(base.classes.patients(id=2, clinic_id="acme", ssn="219-09-9999", history={}))
        session.commit()
        found = session.scalars(select(base.classes.patients).order_by(base.classes.patients.id)).all()
        assert [one.ssn for one in found] == [SSN, "219-09-9999"]


def test_bytes_that_were_written_past_it_do_not_open(sqlite_project: Project) -> None:
    project = adopt(sqlite_project)
    with project.engine.begin() as connection:
        token = reflected(project).tables["settings"]
        connection.execute(insert(token).values(id=2, token=b"a plain text"))
    metadata = reflected(project)
    project.keyring.apply_to(metadata)
    with project.engine.connect() as connection, pytest.raises(TamperedError, match=r"settings\.token"):
        connection.execute(select(metadata.tables["settings"])).all()


def test_a_noted_type_that_is_not_imported_is_named(sqlite_project: Project) -> None:
    project = adopt(sqlite_project)
    with project.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE cmk_columns SET scheme = replace(scheme, 'String(length=40)', 'Nowhere()')"
        )
    with pytest.raises(ConfigurationError, match=r"Nowhere\(\), which is not imported here"):
        project.keyring.apply_to(reflected(project))


def test_a_statement_that_was_compiled_before_is_refused_until_it_is_compiled_again(
    sqlite_project: Project,
) -> None:
    project = adopt(sqlite_project)
    metadata = reflected(project)
    settings = metadata.tables["settings"]
    with project.engine.begin() as connection:
        connection.execute(insert(settings), [{"id": 2, "token": b"bytes"}])
        connection.execute(settings.delete().where(settings.c.id == 2))
    project.keyring.apply_to(metadata)
    row = {"id": 3, "token": "a token"}
    with project.engine.begin() as connection:
        with pytest.raises(UnsupportedOperation, match="clear_compiled_cache"):
            connection.execute(insert(settings), [row])
        project.engine.clear_compiled_cache()
        connection.execute(insert(settings), [row])
        assert connection.scalars(select(settings.c.token)).all() == ["a token"] * 2
