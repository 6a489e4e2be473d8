"""Row-bound values are opened and sealed with the identity of the row that holds them."""

import uuid
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, Uuid, select, text, update

from sqlalchemy_cmk import EncryptedType, TamperedError
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.keys.conftest import World
from tests.rekey.conftest import TENANTS, at_write, fill, rotate, values

CONTEXT = ("letters", "body")
LOOSE = EncryptedType(String(40), context=CONTEXT)
BOUND = EncryptedType(String(40), context=CONTEXT, row_bound=True)
IDENTITIES: dict[str, dict[str, Any]] = {
    "primary key": {},
    "a column": {"cmk_row": ("public_id",)},
    "two columns": {"cmk_row": ("owner", "id")},
}


def letters(world: World, type_: Any = BOUND, metadata: MetaData | None = None, **info: Any) -> Table:
    """Letters of two tenants, as a model has them."""
    table = Table(
        "letters",
        metadata or MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("owner", String(40)),
        Column("public_id", Uuid()),
        Column("plain", String(40)),
        Column("body", type_),
        info={"cmk_tenant": "owner", **info},
    )
    world.keyring.protect(table.metadata)
    return table


def written(world: World, table: Table, column: str = "body") -> Table:
    table.metadata.create_all(world.engine)
    rows = [
        {"id": n + 1, "owner": TENANTS[n % 2], "public_id": uuid.UUID(int=n), column: f"s{n}"}
        for n in range(20)
    ]
    fill(world, table, rows)
    return table


def bodies(world: World, table: Table) -> list[Any]:
    with world.engine.connect() as connection:
        return [row.body for row in connection.execute(select(table).order_by(table.c.id))]


def swap(world: World, *, one: int, other: int) -> None:
    """Put a stored value into another row of the same tenant, past the library."""
    world.execute(f"CREATE TABLE moved AS SELECT body FROM letters WHERE id = {one}")
    world.execute(f"UPDATE letters SET body = (SELECT body FROM moved) WHERE id = {other}")


ALL = [f"s{n}" for n in range(20)]


@pytest.mark.parametrize("info", IDENTITIES.values(), ids=IDENTITIES)
def test_bound_values_are_re_encrypted_under_the_active_dek(bare: World, info: dict[str, Any]) -> None:
    table = written(bare, letters(bare, **info))
    rotate(bare)
    rekey, job = Rekey(bare.keyring, chunk=7, rate=None), Job.of(table)
    assert rekey.rows_left(job) == 20
    report = rekey.run(job)
    assert report.ok and report.rows_changed == 20, report
    assert rekey.verify(job).ok and bodies(bare, table) == ALL


@pytest.mark.parametrize("info", IDENTITIES.values(), ids=IDENTITIES)
def test_a_value_that_was_moved_to_another_row_is_listed_and_not_bound_to_it(
    bare: World, info: dict[str, Any]
) -> None:
    table = written(bare, letters(bare, **info))
    rekey, job = Rekey(bare.keyring, chunk=7, rate=None), Job.of(table)
    swap(bare, one=1, other=3)
    assert [one.key for one in rekey.verify(job).damaged] == ["[3]"]
    rotate(bare)
    report = rekey.run(job)
    assert [(one.key, one.column) for one in report.damaged] == [("[3]", "body")] and report.rows_left == 1
    assert report.rows_changed == 19 and "moved here" in report.damaged[0].reason
    with pytest.raises(TamperedError):
        bodies(bare, table)


@pytest.mark.parametrize("info", IDENTITIES.values(), ids=IDENTITIES)
def test_values_are_bound_in_place_and_loosened_again(bare: World, info: dict[str, Any]) -> None:
    loose, bound = letters(bare, LOOSE), letters(bare, BOUND, **info)
    written(bare, loose)
    rekey, identity = Rekey(bare.keyring, chunk=7, rate=None), Job.of(bound).row_columns
    for before, after, table in ((LOOSE, BOUND, bound), (BOUND, LOOSE, loose)):
        job = Job(
            "letters",
            (Move("body", "body", before, after),),
            tenant_column="owner",
            row_columns=identity,
        )
        report = rekey.run(job)
        assert report.ok and report.rows_changed == 20, report
        assert rekey.run(job).rows_changed == 0, "what opens in the new way is left alone"
        assert rekey.verify(job).ok and bodies(bare, table) == ALL


def test_values_are_bound_to_other_columns_in_place(bare: World) -> None:
    before, after = letters(bare), letters(bare, cmk_row=("public_id",))
    written(bare, before)
    rekey = Rekey(bare.keyring, chunk=7, rate=None)
    names: list[Any] = [("id",), {"public_id": Uuid()}]
    for old, new, table in ((*names, after), (*reversed(names), before)):
        move = Move("body", "body", BOUND, BOUND, existing_row_columns=old)
        job = Job("letters", (move,), tenant_column="owner", row_columns=new)
        report = rekey.run(job)
        assert report.ok and report.rows_changed == 20, report
        assert rekey.run(job).rows_changed == 0
        assert rekey.verify(job).ok and bodies(bare, table) == ALL


def sealing_job() -> Job:
    move = Move("plain", "body", String(40), BOUND)
    return Job("letters", (move,), tenant_column="owner", row_columns={"public_id": Uuid()})


def test_a_row_whose_identity_changes_meanwhile_is_bound_to_the_one_it_has(bare: World) -> None:
    table = written(bare, letters(bare, cmk_row=("public_id",)), "plain")

    plain = letters(bare, String(40))

    def change() -> None:
        with bare.engine.begin() as connection:
            renewed = update(plain).values(public_id=uuid.UUID(int=99))
            connection.execute(renewed.where(plain.c.id == 9))

    with at_write(1, change):
        report = Rekey(bare.keyring, chunk=7, rate=None).run(sealing_job())
    assert report.ok and bodies(bare, table) == ALL


def test_a_row_without_its_identity_is_listed_and_left(bare: World) -> None:
    table = written(bare, letters(bare, cmk_row=("public_id",)), "plain")
    bare.execute("UPDATE letters SET public_id = NULL WHERE id = 4")
    report = Rekey(bare.keyring, chunk=7, rate=None).run(sealing_job())
    assert [(one.key, one.column) for one in report.damaged] == [("[4]", "plain")]
    assert "row identity" in report.damaged[0].reason and report.rows_changed == 19
    assert values(bare, table.c.plain) == ALL


def test_bound_values_are_opened_for_good(bare: World) -> None:
    table = written(bare, letters(bare, cmk_row=("public_id",)))
    move = Move("body", "plain", BOUND, String(40))
    job = Job("letters", (move,), tenant_column="owner", row_columns={"public_id": Uuid()})
    report = Rekey(bare.keyring, chunk=7, rate=None).run(job)
    assert report.ok and values(bare, table.c.plain) == ALL


def test_plaintext_of_a_mixed_column_is_bound_when_it_is_sealed(bare: World) -> None:
    mixed = EncryptedType(String(40), context=CONTEXT, row_bound=True, accept_plaintext=True)
    table = written(bare, letters(bare, mixed, cmk_row=("public_id",)))
    before = "plain" if bare.engine.dialect.name == "sqlite" else b"plain"
    with bare.engine.begin() as connection:
        connection.execute(text("UPDATE letters SET body = :before WHERE id = 2"), {"before": before})
    report = Rekey(bare.keyring, chunk=7, rate=None).run(Job.of(table))
    assert report.ok and report.rows_changed == 1, report
    assert bodies(bare, letters(bare, cmk_row=("public_id",))) == [ALL[0], "plain", *ALL[2:]]
