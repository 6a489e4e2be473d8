"""What a job has written into another column is compared with what it read, value by value."""

from typing import Any

import pytest
from sqlalchemy import JSON, Connection

from sqlalchemy_cmk.rekey import Job, Move, Rekey
from sqlalchemy_cmk.rekey.comparing import Comparing
from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.values import MoveValues
from tests.rekey.conftest import TENANTS, add_people, fill, opening, sealing
from tests.support.world import World

PEOPLE = [{"id": n, "owner": TENANTS[n % 2], "plain": f"p{n}"} for n in range(1, 10)]


def copied(world: World, move: Move, rows: list[dict[str, Any]] = PEOPLE, **columns: Any) -> Job:
    """People whose column was copied by a move."""
    fill(world, add_people(world, **columns), rows)
    return copied_on(world, move)


def copied_on(world: World, move: Move) -> Job:
    job = Job("people", (move,), tenant_column="owner")
    assert Rekey(world.keyring).run(job).ok
    return job


def different(world: World, job: Job, limit: int = 4) -> list[Any]:
    """The keys of the rows that differ, looked at some at a time."""

    def work(connection: Connection) -> list[Key]:
        comparing, found, after = Comparing(world.keyring, Layout(job, connection)), list[Key](), None
        while True:
            compared = comparing.compare(connection, after, None, limit)
            found += compared.different
            if compared.is_last:
                return found
            after = compared.last

    return [key for (key,) in world.keyring.connections.use(work)]


def test_values_that_were_sealed_are_the_same(bare: World) -> None:
    assert different(bare, copied(bare, sealing("plain", "sealed"))) == []


def test_another_value_another_owner_and_a_missing_value_are_found(bare: World) -> None:
    job = copied(bare, sealing("plain", "sealed"))
    bare.execute("UPDATE people SET plain = 'new' WHERE id = 2")
    bare.execute("UPDATE people SET owner = 'globex' WHERE id = 4")
    bare.execute("UPDATE people SET plain = NULL WHERE id = 6")
    bare.execute("UPDATE people SET sealed = NULL WHERE id = 8")
    assert different(bare, job) == [2, 4, 6, 8]
    assert different(bare, job, limit=100) == [2, 4, 6, 8]


def test_values_of_one_dek_are_opened_together(bare: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = copied(bare, sealing("plain", "sealed"))

    def alone(*_: object) -> None:
        raise AssertionError("a value is opened by itself")

    monkeypatch.setattr(MoveValues, "convert", alone)
    assert different(bare, job, limit=100) == []


def test_a_value_that_was_taken_from_another_row_is_found(bare: World) -> None:
    job = copied(bare, sealing("plain", "sealed"))
    bare.execute("UPDATE people SET plain = (SELECT p FROM (SELECT plain p FROM people WHERE id = 2) o)")
    assert different(bare, job) == [1, *range(3, 10)]


@pytest.mark.parametrize("opens", [{}, {"deterministic": True}])
def test_values_that_were_opened_for_good_are_the_same_until_one_changes(
    bare: World, opens: dict[str, Any]
) -> None:
    copied(bare, sealing("plain", "other", **opens))
    job = copied_on(bare, opening("other", "again", **opens))
    assert different(bare, job) == []
    bare.execute("UPDATE people SET again = 'new' WHERE id = 3")
    assert different(bare, job) == [3]


def test_a_json_null_is_a_value(bare: World) -> None:
    rows = [{"id": n, "owner": "acme", "document": None if n == 2 else {"n": n}} for n in (1, 2, 3)]
    job = copied(bare, sealing("document", "sealed", JSON()), rows, document=JSON())
    assert different(bare, job) == []
    bare.execute("UPDATE people SET document = NULL WHERE id = 2")
    assert different(bare, job) == [2]
