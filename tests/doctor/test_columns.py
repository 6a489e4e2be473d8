"""What doctor says of sealed columns whose tenant column is of a type that databases spell their own way."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CHAR, Column, Integer, String, Table, Uuid

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.doctor.columns import ColumnChecks
from tests.support.databases import Database
from tests.support.vault import make_vault
from tests.support.world import World

__all__ = ["make_vault"]

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


@pytest.fixture
def world(bare: World) -> World:
    """A world on each database in turn."""
    return bare.create()


@pytest.mark.parametrize("kind", TENANTS)
def test_a_sound_value_is_no_problem_whatever_the_tenant_column(kind: str, bare: World) -> None:
    type_, tenant = TENANTS[kind]
    columns = (Column("clinic", type_, index=True), Column("secret", EncryptedType(String(40))))
    number = Column("id", Integer, primary_key=True)
    table = Table("things", bare.metadata, number, *columns, info={"cmk_tenant": "clinic"})
    bare.create()
    with bare.engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 1, "clinic": tenant, "secret": "s"}])
    found = {one.subject: one.level for one in ColumnChecks(bare.keyring).findings()}
    assert found["things.secret"] == "ok"


SURVIVES = "the values still open after a tenant revokes their key"


def test_what_no_tenant_can_revoke_is_listed(sqlite_database: Database, tmp_path: Path) -> None:
    world = World(sqlite_database.url, tmp_path)
    secret, email = EncryptedType(String(40)), EncryptedType(String(40), owner="platform")
    number, platform = Column("id", Integer, primary_key=True), {"cmk_tenant": None}
    Table("settings", world.metadata, number, Column("secret", secret), info=platform)
    world.notes.append_column(Column("email", email))
    world.create()
    found = [one for one in ColumnChecks(world.keyring).findings() if SURVIVES in one.what]
    assert [(one.level, one.subject, one.what.split(":")[0]) for one in found] == [
        ("ok", "notes", "email"),
        ("ok", "settings", "secret"),
    ]
    assert 'owner="platform"' in found[0].what and "__cmk_tenant__ = None" in found[1].what
    world.close()


def test_where_nobody_is_a_tenant_nothing_is_said_of_the_platforms_key(make_vault: Any) -> None:
    vault = make_vault()
    Table("settings", vault.base.metadata, Column("secret", EncryptedType(String(40))))
    vault.create()
    findings = list(ColumnChecks(vault.keyring).findings())
    assert findings and not [one for one in findings if SURVIVES in one.what]


def test_a_table_that_may_hide_rows_is_a_warning(world: World) -> None:
    world.execute("DROP TABLE codes")
    world.execute("CREATE VIEW codes AS SELECT * FROM notes")
    found = [one for one in ColumnChecks(world.keyring).findings() if one.level == "warning"]
    assert [(one.subject, one.remedy.split(",")[0]) for one in found] == [("codes", "it is a view")]
    assert "does not see every row" in found[0].what
