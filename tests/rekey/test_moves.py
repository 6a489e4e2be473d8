"""Values are sealed, opened for good, and sealed again in another way, whatever their type."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    Uuid,
    select,
)
from sqlalchemy.dialects.mysql import DATETIME, DOUBLE, TIME

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.rekey.conftest import add_people, fill, opening, sealing, values
from tests.support.world import World


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


UTC = dt.UTC
AWARE = dt.datetime(2026, 3, 4, 5, 6, 7, 890123, UTC)
MY = ("mysql", "mariadb")

# The type, its values, and the type under which a database that keeps less would hold them.
KINDS: dict[str, tuple[Any, list[Any]]] = {
    "string": (String(40), ["Anna", "anna ", "", "Zoë 🎈", "50% \\ ' \" \x01"]),
    "text": (Text(), ["a\nb", "x" * 5000, ""]),
    "integer": (Integer(), [0, -1, 2**31 - 1]),
    "big": (BigInteger(), [0, -(2**63), 2**63 - 1]),
    "float": (Float(53).with_variant(DOUBLE(asdecimal=False), *MY), [0.1, -1e300, 1 / 3, 5e-324]),
    "numeric": (Numeric(12, 2), [Decimal("1.50"), Decimal("-9999999.99"), Decimal("0.00")]),
    "boolean": (Boolean(), [True, False]),
    "date": (Date(), [dt.date(1899, 12, 31), dt.date(9999, 1, 1)]),
    "naive": (DateTime().with_variant(DATETIME(fsp=6), *MY), [dt.datetime(2026, 3, 4, 5, 6, 7, 890123)]),
    "time": (Time().with_variant(TIME(fsp=6), *MY), [dt.time(1, 2, 3, 456789), dt.time(0)]),
    "interval": (Interval(second_precision=6), [dt.timedelta(days=3, microseconds=5), dt.timedelta(0)]),
    "bytes": (LargeBinary(), [b"\x00\xff'\\%", b""]),
    "json": (JSON(), [{"a": [1, None, "ü"]}, [], "text", 0, False]),
    "uuid": (Uuid(), [uuid.UUID(int=5), uuid.uuid4()]),
    "enum": (Enum(Colour), [Colour.RED, Colour.BLUE]),
    "names": (Enum("one", "two", name="names", native_enum=False, length=9), ["one", "two"]),
}
DETERMINISTIC = {"string", "integer", "numeric", "date", "uuid"}


def table_of_kinds(world: World, **marks: str) -> Table:
    """A table with, for each kind, a plain column and sealed and plain ones to move it to."""
    columns = []
    for name, (type_, _) in KINDS.items():
        columns += [
            Column(name, type_),
            Column(f"{name}_1", EncryptedType(type_)),
            Column(f"{name}_2", EncryptedType(type_, deterministic=name in DETERMINISTIC)),
            Column(f"{name}_3", type_),
        ]
    key = Column("id", Integer, primary_key=True), Column("owner", String(9))
    table = Table("kinds", world.metadata, *key, *columns, info={"cmk_tenant": "owner"})
    world.metadata.create_all(world.engine)
    return table


def kinds_of_rows() -> list[dict[str, Any]]:
    longest = max(len(kind[1]) for kind in KINDS.values())
    rows = []
    for n in range(longest):
        row = {name: kind[1][n % len(kind[1])] for name, kind in KINDS.items()}
        rows.append({"id": n + 1, "owner": ("acme", "globex")[n % 2], **row})
    # JSON's None would be a JSON null, which is a value.
    return [*rows, {"id": 99, "owner": "acme", **dict.fromkeys(KINDS), "json": {"only": "this"}}]


def of_kinds(suffix: str) -> dict[str, tuple[Any, EncryptedType]]:
    return {
        name: (
            type_,
            EncryptedType(
                type_,
                context=("kinds", f"{name}{suffix}"),
                deterministic=suffix == "_2" and name in DETERMINISTIC,
            ),
        )
        for name, (type_, _) in KINDS.items()
    }


def contents(world: World, table: Table, suffix: str) -> dict[str, list[Any]]:
    return {name: values(world, table.c[f"{name}{suffix}"]) for name in KINDS}


@pytest.mark.filterwarnings("ignore:Dialect sqlite.*does .not. support Decimal")
def test_values_of_every_type_go_from_column_to_column_and_come_back(bare: World) -> None:
    table = table_of_kinds(bare)
    rows = kinds_of_rows()
    fill(bare, table, rows)
    before = contents(bare, table, "")
    rekey = Rekey(bare.keyring, chunk=3, rate=None)

    first, second = of_kinds("_1"), of_kinds("_2")
    seal = tuple(Move(name, f"{name}_1", plain, sealed) for name, (plain, sealed) in first.items())
    report = rekey.run(Job("kinds", seal, tenant_column="owner"))
    assert report.ok and report.rows_changed == len(rows), report
    assert contents(bare, table, "_1") == before

    move = tuple(Move(f"{name}_1", f"{name}_2", first[name][1], second[name][1]) for name in KINDS)
    report = rekey.run(Job("kinds", move, tenant_column="owner"))
    assert report.ok and report.rows_changed == len(rows), report
    assert contents(bare, table, "_2") == before

    back = tuple(Move(f"{name}_2", f"{name}_3", second[name][1], plain) for name, (plain, _) in first.items())
    report = rekey.run(Job("kinds", back, tenant_column="owner"))
    assert report.ok and report.rows_changed == len(rows), report
    assert contents(bare, table, "_3") == before
    for name in KINDS:
        there, back_again = f"kinds.{name}", f"kinds.{name}_3"
        same = f"({there} = {back_again} OR ({there} IS NULL AND {back_again} IS NULL))"
        same = same if name != "json" else "json IS NOT NULL AND json_3 IS NOT NULL"
        assert bare.raw(f"SELECT count(*) FROM kinds WHERE {same}") == [(len(rows),)], name


def test_aware_moments_keep_their_instant(bare: World) -> None:
    kind = DateTime(timezone=True)
    table = Table(
        "moments",
        bare.metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", String(9)),
        Column("sealed", EncryptedType(kind)),
        Column("other", EncryptedType(kind)),
        info={"cmk_tenant": "owner"},
    )
    bare.metadata.create_all(bare.engine)
    fill(bare, table, [{"id": 1, "owner": "acme", "sealed": AWARE}])
    move = Move("sealed", "other", table.c.sealed.type, EncryptedType(kind, context=("moments", "other")))
    assert Rekey(bare.keyring).run(Job("moments", (move,), tenant_column="owner")).ok
    assert values(bare, table.c.other) == [AWARE]


def test_the_context_of_every_type_changes_in_place(bare: World) -> None:
    table = table_of_kinds(bare)
    fill(bare, table, [{f"{k}_1" if k in KINDS else k: v for k, v in row.items()} for row in kinds_of_rows()])
    before = contents(bare, table, "_1")
    moves = tuple(
        Move(f"{name}_1", f"{name}_1", old, EncryptedType(plain, context=f"renamed.{name}"))
        for name, (plain, old) in of_kinds("_1").items()
    )
    job = Job("kinds", moves, tenant_column="owner")
    rekey = Rekey(bare.keyring, chunk=3, rate=None)
    report = rekey.run(job)
    assert report.ok and report.rows_changed == len(kinds_of_rows()), report
    again = rekey.run(job)
    assert again.ok and again.rows_changed == 0, "what has the new context is left alone"
    renamed = Table(
        "kinds",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("owner", String(9)),
        *(Column(f"{n}_1", EncryptedType(k[0], context=f"renamed.{n}")) for n, k in KINDS.items()),
        info={"cmk_tenant": "owner"},
    )
    bare.keyring.protect(renamed.metadata)
    assert contents(bare, renamed, "_1") == before
    assert rekey.verify(job).ok and not rekey.verify(Job.of(table, ("string_1",))).ok


@pytest.mark.parametrize("becomes", [True, False])
def test_text_becomes_deterministic_or_randomized_in_place(becomes: bool, bare: World) -> None:
    names = {"id": Integer(), "owner": String(9)}
    old = EncryptedType(String(40), context=("notes", "text"), deterministic=not becomes)
    new = EncryptedType(String(40), context=("notes", "text"), deterministic=becomes)
    tables = []
    for type_ in (old, new):
        columns = (Column(name, kind, primary_key=name == "id") for name, kind in names.items())
        tables.append(
            Table("notes", MetaData(), *columns, Column("text", type_), info={"cmk_tenant": "owner"})
        )
        bare.keyring.protect(tables[-1].metadata)
    before, after = tables
    owners = ("acme", "globex")
    fill(bare, before, [{"id": n + 1, "owner": owners[n % 2], "text": f"s{n // 4}"} for n in range(20)])
    job = Job("notes", (Move("text", "text", old, new),), tenant_column="owner")
    rekey = Rekey(bare.keyring, chunk=3, rate=None)
    assert rekey.rows_left(job) == 20
    report = rekey.run(job)
    assert report.ok and report.rows_changed == 20, report
    assert values(bare, after.c.text) == [f"s{n // 4}" for n in range(20)]
    assert bare.raw("SELECT count(DISTINCT text) FROM notes") == [(10 if becomes else 20,)]


def test_another_type_is_not_written_in_place_for_a_resumed_run_could_not_tell(bare: World) -> None:
    bare.write("acme", "1")
    move = Move(
        "text",
        "text",
        EncryptedType(String(40), context=("notes", "text")),
        EncryptedType(Integer, context=("notes", "text")),
    )
    with pytest.raises(ConfigurationError, match="values of another type are not written in place"):
        Rekey(bare.keyring).run(Job("notes", (move,), tenant_column="owner"))


def test_a_sealed_value_may_get_another_type_in_another_column(bare: World) -> None:
    table = add_people(bare, number=EncryptedType(Integer))
    fill(bare, table, [{"id": 1, "owner": "acme", "sealed": "12"}, {"id": 2, "owner": "acme", "sealed": "x"}])
    move = Move(
        "sealed", "number", EncryptedType(String(40), context=("people", "sealed")),
        EncryptedType(Integer, context=("people", "number")),
    )  # fmt: skip
    report = Rekey(bare.keyring).run(Job("people", (move,), tenant_column="owner"))
    assert not report.ok and report.rows_left == 2 and len(report.damaged) == 2
    assert "'12'" not in str(report), "a text is no integer, and is not quoted"


def test_a_json_null_is_a_value_and_stays_one(bare: World) -> None:
    table = add_people(bare, JSON(), secret=EncryptedType(JSON()))
    fill(bare, table, [{"id": 1, "owner": "acme", "plain": None}])
    bare.execute("INSERT INTO people (id, owner) VALUES (2, 'acme')")
    rekey = Rekey(bare.keyring)
    sealed = EncryptedType(JSON(), context=("people", "secret"))
    assert rekey.run(Job("people", (Move("plain", "secret", JSON(), sealed),), tenant_column="owner")).ok
    assert bare.raw("SELECT id FROM people WHERE secret IS NOT NULL") == [(1,)]
    assert rekey.run(Job("people", (Move("secret", "again", sealed, JSON()),), tenant_column="owner")).ok
    assert bare.raw("SELECT id FROM people WHERE again IS NOT NULL") == [(1,)]
    with bare.engine.connect() as connection:
        shown = connection.scalar(select(table.c.again.cast(Text)).where(table.c.id == 1))
    assert shown == "null"


def test_blanks_at_the_end_of_a_fixed_length_text_do_not_stop_it(bare: World) -> None:
    table = add_people(bare, CHAR(10))
    fill(bare, table, [{"id": 1, "owner": "acme", "plain": "abc"}, {"id": 2, "owner": "acme", "plain": ""}])
    move = Move("plain", "sealed", CHAR(10), EncryptedType(String(40), context=("people", "sealed")))
    report = Rekey(bare.keyring).run(Job("people", (move,), tenant_column="owner"))
    assert report.ok and report.rows_changed == 2, report
    assert values(bare, table.c.sealed) == values(bare, table.c.plain)


def test_each_column_of_a_row_is_moved_if_it_needs_to_be(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [
        {"id": 1, "owner": "acme", "plain": "a", "again": None, "sealed": None, "other": None},
        {"id": 2, "owner": "acme", "plain": "a", "again": "b", "sealed": "newer", "other": None},
        {"id": 3, "owner": "acme", "plain": None, "again": None, "sealed": None, "other": None},
        {"id": 4, "owner": "acme", "plain": "a", "again": "b", "sealed": "kept", "other": "kept"},
    ])  # fmt: skip
    job = Job("people", (sealing("plain", "sealed"), sealing("again", "other")), tenant_column="owner")
    rekey = Rekey(bare.keyring)
    assert rekey.rows_left(job) == 2
    report = rekey.run(job)
    assert report.ok and report.rows_changed == 2, report
    assert values(bare, table.c.sealed) == ["a", "newer", None, "kept"]
    assert values(bare, table.c.other) == [None, "b", None, "kept"]


def test_a_value_is_opened_for_good_and_then_gone_from_the_sealed_side_of_the_count(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [{"id": n + 1, "owner": "acme", "sealed": f"s{n}"} for n in range(9)])
    job = Job("people", (opening("sealed", "plain"),), tenant_column="owner")
    assert Rekey(bare.keyring).rows_left(job) == 9
    assert Rekey(bare.keyring, chunk=2).run(job).ok
    assert values(bare, table.c.plain) == [f"s{n}" for n in range(9)]
    assert Rekey(bare.keyring).rows_left(job) == 0
