"""A mixed column is sealed at leisure: the engine takes what it held before by the declared type."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    null,
    select,
    text,
)

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.rekey import Job, Rekey, count_rows
from tests.hooks.adoption import TYPES, before_adoption, make_binary
from tests.support.vault import Vault
from tests.support.vault import make_vault as make_vault
from tests.support.vault import vault as vault

KINDS = (
    "string",
    "integer",
    "float",
    "numeric",
    "boolean",
    "date",
    "aware",
    "interval",
    "binary",
    "json",
    "uuid",
)


def mixed_table(metadata: MetaData, declared: Any, **options: Any) -> Table:
    columns = (Column("id", Integer, primary_key=True), Column("value", EncryptedType(declared, **options)))
    return Table("things", metadata, *columns)


def values(vault: Vault, table: Table) -> list[Any]:
    with vault.engine.connect() as connection:
        return list(connection.scalars(select(table.c.value).order_by(table.c.id)))


@pytest.mark.parametrize(
    ("name", "deterministic"), [*((name, False) for name in KINDS), ("string", True), ("numeric", True)]
)
def test_every_plaintext_is_sealed_and_reads_as_before(vault: Vault, name: str, deterministic: bool) -> None:
    declared, given = TYPES[name]
    before = before_adoption(vault.engine, declared, [*given, null()])
    make_binary(vault.engine)
    table = mixed_table(vault.base.metadata, declared, deterministic=deterministic, accept_plaintext=True)
    vault.create()
    rekey, job = Rekey(vault.keyring, chunk=2, rate=None), Job.of(table)
    assert rekey.rows_left(job) == len(given)
    assert rekey.verify(job).ok
    report = rekey.run(job)
    assert report.ok and report.rows_changed == len(given), report
    known = vault.keyring.dek_states()
    with vault.engine.connect() as connection:
        counts = count_rows(connection, table, ["value"], known)["value"]
    assert (counts.sealed, counts.unsealed, counts.null) == (len(given), 0, 1)
    strict = MetaData()
    vault.keyring.protect(strict)
    assert values(vault, mixed_table(strict, declared, deterministic=deterministic)) == before


def test_sealed_and_plain_rows_come_under_the_active_dek_together(vault: Vault) -> None:
    before_adoption(vault.engine, String(60), [f"plain {n}" for n in range(30)])
    make_binary(vault.engine)
    table = mixed_table(vault.base.metadata, String(60), accept_plaintext=True)
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 100 + n, "value": f"sealed {n}"} for n in range(30)])
    vault.keyring.lifecycle.rotate_dek("")
    report = Rekey(vault.keyring, chunk=7, rate=None).run(Job.of(table))
    assert report.ok and report.rows_changed == 60, report
    assert values(vault, table) == [*(f"plain {n}" for n in range(30)), *(f"sealed {n}" for n in range(30))]


def test_what_is_neither_is_listed_and_left(vault: Vault) -> None:
    before_adoption(vault.engine, String(60), ["12", "SECRET", "13"])
    make_binary(vault.engine)
    table = mixed_table(vault.base.metadata, Integer(), accept_plaintext=True)
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(table.insert(), {"id": 4, "value": 14})
        (stored,) = connection.execute(text("SELECT value FROM things WHERE id = 4")).one()
        cut = text("UPDATE things SET value = :v WHERE id = 4")
        connection.execute(cut, {"v": bytes(stored)[:-1]})
    rekey = Rekey(vault.keyring, rate=None)
    vault.keyring.lifecycle.rotate_dek("")
    report = rekey.run(Job.of(table))
    assert not report.ok and report.rows_changed == 2 and report.rows_left == 2
    assert sorted(one.key for one in report.damaged) == ["[2]", "[4]"]
    assert "SECRET" not in str(report)
    assert bytes(stored)[1:9].hex() in str(report.damaged)


def test_without_the_option_a_plaintext_is_damage(vault: Vault) -> None:
    before_adoption(vault.engine, String(60), ["SECRET"])
    make_binary(vault.engine)
    table = mixed_table(vault.base.metadata, String(60))
    vault.create()
    report = Rekey(vault.keyring, rate=None).run(Job.of(table))
    assert report.rows_changed == 0 and len(report.damaged) == 1 and report.rows_left == 1
    assert "SECRET" not in str(report)


def test_no_error_of_the_database_shows_a_plaintext(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    before_adoption(vault.engine, String(60), ["SECRET"])
    table = mixed_table(vault.base.metadata, String(60), accept_plaintext=True)
    vault.create()
    with vault.engine.begin() as connection:
        refusing = "CREATE TRIGGER refusing BEFORE UPDATE ON things BEGIN SELECT RAISE(ABORT, 'refused'); END"
        connection.execute(text(refusing))
    report = Rekey(vault.keyring, rate=None).run(Job.of(table))
    assert not report.ok and [one.key for one in report.damaged] == ["[1]"]
    assert "SECRET" not in repr(report)
