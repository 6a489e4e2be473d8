"""Columns of tenants' tables whose values belong to the platform."""

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.rekey import Job, Move, Rekey, drop_retired
from tests.keys.conftest import World
from tests.rekey.conftest import TENANTS, at_write, fill
from tests.rekey.test_dropping import rotated

ROWS = EncryptedType(String(40), context="mail")
PLATFORMS = EncryptedType(String(40), context="mail", owner="platform")


def users(world: World, mail: Any = PLATFORMS) -> Table:
    table = Table(
        "users",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("owner", String(40)),
        Column("mail", mail),
        Column("name", EncryptedType(String(40))),
        info={"cmk_tenant": "owner"},
    )
    world.keyring.protect(table.metadata)
    return table


def written(world: World, table: Table) -> Table:
    table.metadata.create_all(world.engine)
    fill(
        world,
        table,
        [{"id": n + 1, "owner": TENANTS[n % 2], "mail": f"m{n}", "name": f"n{n}"} for n in range(20)],
    )
    return table


def deks(world: World, column: str) -> set[bytes]:
    return {bytes(row[0])[1:9] for row in world.raw(f"SELECT {column} FROM users")}


def mails(world: World, table: Table) -> list[Any]:
    with world.engine.connect() as connection:
        return [row.mail for row in connection.execute(select(table).order_by(table.c.id))]


ALL = [f"m{n}" for n in range(20)]


def test_a_tenants_job_leaves_the_platforms_columns_and_the_other_way_round(bare: World) -> None:
    table = written(bare, users(bare))
    mail, name = deks(bare, "mail"), deks(bare, "name")
    assert (len(mail), len(name)) == (1, 2)
    for tenant in ("", "acme"):
        bare.keyring.lifecycle.rotate_dek(tenant)
    rekey = Rekey(bare.keyring, chunk=7, rate=None)
    assert rekey.run(Job.of(table, tenant="acme")).rows_changed == 10
    assert deks(bare, "mail") == mail and len(deks(bare, "name") & name) == 1
    assert rekey.run(Job.of(table, tenant="")).rows_changed == 20
    assert deks(bare, "mail") == {bare.active("")}
    assert mails(bare, table) == ALL and rekey.verify(Job.of(table)).ok
    with pytest.raises(ConfigurationError, match=r"users has no sealed column mail with values of 'acme'"):
        Job.of(table, ("mail",), tenant="acme")


def test_a_revoked_tenant_does_not_keep_the_platforms_values_under_a_retired_dek(bare: World) -> None:
    table = written(bare, users(bare))
    bare.keyring.assign("acme", "local:acme")
    for tenant in ("", "acme"):
        bare.keyring.lifecycle.rotate_dek(tenant)
    bare.provider.disable("local:acme")
    bare.restart(revalidate_after=0)
    table = users(bare)
    report = Rekey(bare.keyring, chunk=7, rate=None).run(Job.of(table))
    assert set(report.refused) == {"acme"}
    assert deks(bare, "mail") == {bare.active("")} and mails_of_globex(bare, table)


def mails_of_globex(world: World, table: Table) -> bool:
    query = select(table.c.mail).order_by(table.c.id)
    with world.engine.connect() as connection:
        return connection.execute(query).scalars().all() == ALL


def test_the_platforms_retired_dek_is_kept_while_rows_of_tenants_need_it(bare: World) -> None:
    bare.metadata.create_all(bare.engine)
    table = written(bare, users(bare))
    old = rotated(bare, "")
    assert drop_retired(bare.keyring, "").kept == {old: "users.mail: 20 rows"}
    assert Rekey(bare.keyring, rate=None).run(Job.of(table, tenant="")).ok
    assert drop_retired(bare.keyring, "").dropped == (old,)


@pytest.mark.parametrize("to_platform", [True, False])
def test_values_change_their_owner_in_place(bare: World, to_platform: bool) -> None:
    old, new = (ROWS, PLATFORMS) if to_platform else (PLATFORMS, ROWS)
    written(bare, users(bare, old))
    job = Job("users", (Move("mail", "mail", old, new),), tenant_column="owner")
    rekey = Rekey(bare.keyring, chunk=7, rate=None)
    report = rekey.run(job)
    assert report.ok and report.rows_changed == 20, report
    assert rekey.run(job).rows_changed == 0 and rekey.verify(job).ok
    assert len(deks(bare, "mail")) == (1 if to_platform else 2)
    assert mails(bare, users(bare, new)) == ALL


def test_a_row_that_goes_to_another_tenant_meanwhile_gets_that_ones_key(bare: World) -> None:
    written(bare, users(bare))
    bare.execute("UPDATE users SET name = NULL")
    job = Job("users", (Move("mail", "mail", PLATFORMS, ROWS),), tenant_column="owner")
    with at_write(1, lambda: bare.execute("UPDATE users SET owner = 'globex' WHERE id = 9")):
        report = Rekey(bare.keyring, chunk=7, rate=None).run(job)
    assert report.ok and Rekey(bare.keyring).verify(job).ok
    assert mails(bare, users(bare, ROWS)) == ALL


def test_a_row_without_a_tenant_keeps_its_platforms_value(bare: World) -> None:
    table = written(bare, users(bare))
    bare.execute("UPDATE users SET owner = NULL, name = NULL WHERE id = 5")
    bare.keyring.lifecycle.rotate_dek("")
    report = Rekey(bare.keyring, chunk=7, rate=None).run(Job.of(table))
    assert report.ok and deks(bare, "mail") == {bare.active("")}


def test_a_job_for_a_mistyped_tenant_makes_no_tenant(bare: World) -> None:
    table = written(bare, users(bare))
    before = bare.raw("SELECT tenant FROM cmk_deks ORDER BY tenant")
    rekey, job = Rekey(bare.keyring, rate=None), Job.of(table, tenant="amce")
    for work in (rekey.run, rekey.verify):
        with pytest.raises(ConfigurationError, match=r"no tenant 'amce' has keys here.*did you mean 'acme'"):
            work(job)
    assert bare.raw("SELECT tenant FROM cmk_deks ORDER BY tenant") == before
    assert "amce" not in {line.tenant for line in bare.keyring.status()}


def test_a_tenants_first_row_is_sealed_by_a_job_for_it_alone(bare: World) -> None:
    mail = EncryptedType(String(40), context="mail")
    Table(
        "users",
        bare.metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", String(40)),
        Column("plain", String(40)),
        Column("mail", mail),
        info={"cmk_tenant": "owner"},
    )
    bare.metadata.create_all(bare.engine)
    bare.execute("INSERT INTO users (id, owner, plain) VALUES (1, 'initech', 'm')")
    job = Job("users", (Move("plain", "mail", String(40), mail),), tenant_column="owner", tenant="initech")
    report = Rekey(bare.keyring, rate=None).run(job)
    assert report.ok and report.rows_changed == 1, report
    assert [line.tenant for line in bare.keyring.status() if line.tenant] == ["initech"]
