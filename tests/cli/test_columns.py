"""What doctor says of sealed columns whose tenant column is of a type that databases spell their own way."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CHAR, Column, Integer, String, Table, Uuid

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.cli.columns import ColumnExamination
from tests.keys.conftest import World
from tests.support.databases import Database

TENANTS: dict[str, tuple[Any, Any]] = {
    "padded": (CHAR(10), "acme"),
    "uuid": (Uuid(), uuid.UUID(int=7)),
    "uuid as text": (Uuid(as_uuid=False), str(uuid.UUID(int=7))),
}


@pytest.fixture
def bare(database: Database, tmp_path: Path) -> Iterator[World]:
    world = World(database.url, tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize("kind", TENANTS)
def test_a_sound_value_is_no_problem_whatever_the_tenant_column(kind: str, bare: World) -> None:
    type_, tenant = TENANTS[kind]
    columns = (Column("clinic", type_, index=True), Column("secret", EncryptedType(String(40))))
    number = Column("id", Integer, primary_key=True)
    table = Table("things", bare.metadata, number, *columns, info={"cmk_tenant": "clinic"})
    bare.create()
    with bare.engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 1, "clinic": tenant, "secret": "s"}])
    found = {one.subject: one.level for one in ColumnExamination(bare.keyring.examination, set()).findings()}
    assert found["things.secret"] == "ok"
