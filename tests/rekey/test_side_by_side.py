"""The keys that a batch of rows needs are opened side by side, and one that is out of reach is asked once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, Table, text

from sqlalchemy_cmk import EncryptedType, KeyUnavailable
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.support.databases import Database
from tests.support.vaults import TENANTS, vaults
from tests.support.vaults import town as make_town
from tests.support.world import World


@pytest.fixture(autouse=True)
def _drivers() -> None:
    """By one set of drivers: what is asked of KEKs does not depend on it."""


@pytest.fixture
def town(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    """Thirty tenants with a vault each, whose DEKs were rotated; nothing is open."""
    with make_town(sqlite_database.url, tmp_path) as world:
        for tenant in TENANTS:
            world.keyring.lifecycle.rotate_dek(tenant)
        world.restart()
        yield world


def test_a_batch_of_many_tenants_asks_sixteen_vaults_at_once(town: World) -> None:
    vaults(town).awaited = 16
    report = Rekey(town.keyring, rate=None).run(Job.of(town.notes))
    assert report.ok and report.rows_changed == len(TENANTS)
    assert vaults(town).most == 16
    # The old DEK of each tenant and its new one.
    assert town.provider.calls == ["unwrap"] * 2 * len(TENANTS)
    assert town.read() == [f"of {one}" for one in TENANTS]


def test_a_vault_that_is_away_is_asked_once_for_all_rows_of_a_batch(town: World) -> None:
    town.write(TENANTS[5], *(f"more {number}" for number in range(20)))
    town.restart()
    asked: list[str] = []

    def fail(kek_uri: str) -> None:
        if kek_uri == f"local:{TENANTS[5]}":
            asked.append(kek_uri)
            raise KeyUnavailable("it is away")

    town.provider.fault = fail
    report = Rekey(town.keyring, rate=None).verify(Job.of(town.notes))
    assert set(report.refused) == {TENANTS[5]} and report.rows_read == len(TENANTS) + 20
    assert len(asked) <= 2  # for the old DEK and for the new one, which are asked for together


def test_no_key_is_made_for_a_tenant_of_whose_values_none_opens(town: World) -> None:
    columns: list[Any] = [Column("id", Integer, primary_key=True), Column("owner", String(40))]
    columns += [Column(name, EncryptedType(String(40))) for name in ("old", "new")]
    people = Table("people", town.metadata, *columns, info={"cmk_tenant": "owner"})
    town.metadata.create_all(town.engine)
    with town.engine.begin() as connection:
        connection.execute(people.insert(), [{"owner": TENANTS[0], "old": "theirs"}])
        connection.execute(text("UPDATE people SET owner = 'mistyped'"))
    old, new = (EncryptedType(String(40), context=("people", name)) for name in ("old", "new"))
    job = Job("people", (Move("old", "new", old, new),), tenant_column="owner")
    report = Rekey(town.keyring, rate=None).run(job)
    assert [one.key for one in report.damaged] == ["[1]"]
    assert town.keyring.status(["mistyped"]) == []
