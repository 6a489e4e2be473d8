"""Rows are found by whatever primary key a table has."""

import datetime as dt
import secrets
import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    Uuid,
)
from sqlalchemy.types import BINARY

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.rekey.conftest import at_write, fill, values
from tests.support.world import World

ANY_CASE = String(20).with_variant(String(20, collation="utf8mb4_general_ci"), "mysql", "mariadb")
ANY_CASE = ANY_CASE.with_variant(String(20, collation="NOCASE"), "sqlite")
MOMENT = DateTime().with_variant(DateTime(), "sqlite")
FEW_BYTES = LargeBinary(8).with_variant(BINARY(8), "mysql", "mariadb")


def numbered(name: str, type_: Any) -> Column[Any]:
    return Column(name, type_, primary_key=True, autoincrement=False)


TEXTS = ["b", "a", "é", "ß", "z", "o", "10", "9", "_", "%", "%%", "'", "\\", "x"]

KEYS: dict[str, tuple[list[tuple[str, Any]], list[tuple[Any, ...]]]] = {
    "an integer, also negative": ([("id", Integer)], [(n * n * n - 500,) for n in range(20)]),
    "a large integer": ([("id", BigInteger)], [(n * 2**58,) for n in range(-10, 10)]),
    "two columns": ([("a", Integer), ("b", String(9))], [(n // 5, f"b{n % 5}") for n in range(20)]),
    "three columns": (
        [("a", Integer), ("b", Integer), ("c", Date)],
        [(n // 9, n // 3 % 3, dt.date(2026, 1, 1 + n % 3)) for n in range(20)],
    ),
    "a UUID": ([("id", Uuid)], [(uuid.UUID(int=n * 2**120 + n),) for n in range(20)]),
    "text": ([("id", String(20))], [(one,) for one in TEXTS]),
    "text of any case": ([("id", ANY_CASE)], [(f"{'aBcD'[n % 4]}nna {n} ",) for n in range(20)]),
    "bytes": ([("id", FEW_BYTES)], [(bytes([n * 12]) * 8,) for n in range(20)]),
    "a decimal": ([("id", Numeric(20, 0))], [(Decimal(n) * 10**15,) for n in range(-10, 10)]),
    "a moment": ([("id", MOMENT)], [(dt.datetime(2026, 1, 1, 12, n),) for n in range(20)]),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.filterwarnings("ignore:Dialect sqlite.*does .not. support Decimal")
def test_every_row_is_found_once_by(kind: str, bare: World) -> None:
    columns, keys = KEYS[kind]
    table = Table(
        "things",
        bare.metadata,
        *(numbered(name, type_) for name, type_ in columns),
        Column("owner", String(40)),
        Column("secret", EncryptedType(String(40))),
        info={"cmk_tenant": "owner"},
    )
    bare.metadata.create_all(bare.engine)
    names = [name for name, _ in columns]
    rows = [dict(zip(names, key, strict=True)) for key in keys]
    fill(bare, table, [{**row, "owner": "acme", "secret": f"s{n}"} for n, row in enumerate(rows)])
    before = values(bare, table.c.secret)
    bare.keyring.lifecycle.rotate_dek("acme")
    report = Rekey(bare.keyring, chunk=3, rate=None).run(Job.of(table))
    assert report.ok and report.rows_changed == len(keys) == report.rows_read, report
    assert values(bare, table.c.secret) == before


def test_a_table_and_columns_may_have_reserved_and_odd_names(bare: World) -> None:
    table = Table(
        "order",
        bare.metadata,
        Column("select", Integer, primary_key=True),
        Column("group", String(40)),
        Column("50% off", EncryptedType(String(40))),
        Column("Table Name", EncryptedType(String(40))),
        info={"cmk_tenant": "group"},
    )
    bare.metadata.create_all(bare.engine)
    with bare.engine.begin() as connection:
        for n in range(20):
            row = {"select": n + 1, "group": "acme", "50% off": f"a{n}", "Table Name": f"b{n}"}
            connection.execute(table.insert().values({table.c[name]: one for name, one in row.items()}))
    bare.keyring.lifecycle.rotate_dek("acme")
    report = Rekey(bare.keyring, chunk=7, rate=None).run(Job.of(table))
    assert report.ok and report.rows_changed == 20, report
    assert Rekey(bare.keyring).verify(Job.of(table)).ok


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_table_may_be_in_another_schema(bare: World) -> None:
    schema = f"cmk_test_{secrets.token_hex(6)}"
    bare.execute(f"CREATE SCHEMA {schema}")
    try:
        table = Table(
            "notes",  # there is one of this name in the schema of the connection, too
            bare.metadata,
            Column("id", Integer, primary_key=True),
            Column("owner", String(40)),
            Column("text", EncryptedType(String(40))),
            schema=schema,
            info={"cmk_tenant": "owner"},
        )
        bare.metadata.create_all(bare.engine)
        fill(bare, table, [{"id": n + 1, "owner": "acme", "text": f"s{n}"} for n in range(20)])
        bare.keyring.lifecycle.rotate_dek("acme")
        report = Rekey(bare.keyring, chunk=7, rate=None).run(Job.of(table))
        assert report.ok and report.rows_changed == 20, report
        assert values(bare, table.c.text) == [f"s{n}" for n in range(20)]
    finally:
        bare.execute(
            f"DROP SCHEMA {schema}" + (" CASCADE" if bare.engine.dialect.name == "postgresql" else "")
        )


def test_a_table_without_a_primary_key_is_refused_with_the_reason(bare: World) -> None:
    bare.execute("CREATE TABLE loose (owner VARCHAR(40), secret VARCHAR(40))")
    type_ = EncryptedType(String(40), context="loose.secret")
    with pytest.raises(ConfigurationError, match="loose has no primary key: a row cannot be found again"):
        Rekey(bare.keyring).run(
            Job("loose", (Move("secret", "secret", type_, type_),), tenant_column="owner")
        )
    assert Rekey(bare.keyring).runs() == []


@pytest.mark.parametrize(
    ("table", "source", "tenant_column", "complaint"),
    [
        ("nothing", "text", "owner", "there is no table 'nothing' in this database"),
        ("notes", "words", "owner", "notes has no column 'words' in this database"),
        ("notes", "text", "clinic", "notes has no column 'clinic' in this database"),
        ("notes", "text", ("nothing", "owner"), "there is no table 'nothing' in this database"),
        ("notes", "text", ("codes", "clinic"), "notes: its rows cannot be matched to codes.clinic"),
    ],
)
def test_a_schema_that_is_not_the_models_is_named(
    table: str, source: str, tenant_column: str | tuple[str, str], complaint: str, bare: World
) -> None:
    type_ = EncryptedType(String(40), context=("notes", "text"))
    job = Job(table, (Move(source, source, type_, type_),), tenant_column=tenant_column)
    for act in (Rekey(bare.keyring).run, Rekey(bare.keyring).rows_left, Rekey(bare.keyring).verify):
        with pytest.raises(ConfigurationError, match=complaint):
            act(job)


def test_a_row_whose_key_moves_behind_the_reader_is_found_in_the_next_pass(bare: World) -> None:
    bare.write("acme", *(f"s{n}" for n in range(20)))
    bare.keyring.lifecycle.rotate_dek("acme")
    with at_write(1, lambda: bare.execute("UPDATE notes SET id = -5 WHERE id = 15")):
        report = Rekey(bare.keyring, chunk=5, rate=None).run(Job.of(bare.notes))
    assert report.ok and report.rows_changed == 20, report
    assert Rekey(bare.keyring).rows_left(Job.of(bare.notes)) == 0


def test_an_empty_table_is_done_at_once(bare: World) -> None:
    report = Rekey(bare.keyring).run(Job.of(bare.notes))
    assert report.ok and (report.rows_read, report.rows_changed) == (0, 0)
