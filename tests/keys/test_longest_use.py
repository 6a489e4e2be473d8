"""A DEK's record says the longest time for which any process may go on sealing under it."""

from typing import Any

import pytest
from sqlalchemy import event, select, update

from sqlalchemy_cmk import KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.model import Purpose
from tests.support.world import World


def recorded(world: World, tenant: str = "acme") -> list[float]:
    """What the records of a tenant's DEKs say, those of the oldest DEK first."""
    deks = world.keyring.database.tables.deks.c
    query = select(deks.longest_use).where(deks.tenant == tenant).order_by(deks.created_at, deks.state.desc())
    with world.engine.connect() as connection:
        return list(connection.scalars(query))


def another(world: World, **options: Any) -> World:
    """Another process with other settings, over the same database and keys."""
    return World(world.url, world.folder, **options)


def test_a_new_dek_has_the_settings_of_the_process_that_makes_it(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    assert recorded(world) == [3600]


def test_a_process_with_longer_settings_records_them_before_it_seals(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    other = another(world, revalidate_after=7200, outage_grace=0)
    other.write("acme", "sealed for two hours, perhaps")
    assert recorded(world) == [7200]
    (event_,) = [one for one in world.keyring.audit.entries("acme") if one.event == "longest_use"]
    assert event_.dek_id == world.active("acme").hex() and "7200 s" in event_.detail
    other.close()


def test_shorter_settings_change_nothing(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    other = another(world, revalidate_after=10, outage_grace=0)
    other.write("acme", "a note")
    assert recorded(world) == [3600]
    other.keyring.lifecycle.rotate_dek("acme")
    assert sorted(recorded(world)) == [10, 3600]
    other.close()


def test_a_tenants_own_grace_is_recorded_and_stays_when_it_is_taken_back(world: World) -> None:
    world.keyring.warm(["acme", "globex"], new=True)
    world.keyring.lifecycle.set_grace("acme", 9000)
    world.keyring.lifecycle.set_grace("acme", 0)
    assert (recorded(world), recorded(world, "globex")) == ([9000], [3600])


def test_a_tenants_grace_counts_for_a_dek_that_is_made_later(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    world.keyring.lifecycle.set_grace("acme", 9000)
    world.keyring.warm(["acme"], [Purpose.DETERMINISTIC], new=True)
    assert recorded(world) == [9000, 9000]


def test_a_dek_that_another_process_makes_at_the_same_moment_has_both_settings(lite: World) -> None:
    other = another(lite, revalidate_after=7200)
    met: list[bool] = []

    def make(*arguments: Any) -> None:
        if "INSERT INTO cmk_tenants" in arguments[2] and not met:
            met.append(True)
            lite.keyring.warm(["acme"], new=True)

    event.listen(type(other.engine), "before_cursor_execute", make)
    other.keyring.warm(["acme"], new=True)
    event.remove(type(other.engine), "before_cursor_execute", make)
    assert met and recorded(lite) == [7200]
    other.close()


def test_a_record_that_was_lowered_by_hand_is_named(lite: World) -> None:
    lite.keyring.warm(["acme"], new=True)
    deks = lite.keyring.database.tables.deks
    with lite.engine.begin() as connection:
        connection.execute(update(deks).values(longest_use=0))
    lite.restart()
    with pytest.raises(TamperedError, match=r"the longest_use of DEK .* was changed"):
        lite.keyring.warm(["acme"], new=True)


def test_nothing_is_sealed_where_it_cannot_be_recorded_and_queries_go_on(
    lite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.write("acme", "a code", table=lite.codes)
    other = another(lite, revalidate_after=7200)

    def fail(*arguments: Any, **options: Any) -> bool:
        raise KeyUnavailable("the database is read-only")

    monkeypatch.setattr(other.keyring.store, "apply_all", fail)
    with other.engine.connect() as connection:
        same = select(other.codes.c.id).where(other.codes.c.owner == "acme", other.codes.c.text == "a code")
        assert connection.execute(same).all() == [(1,)]
    with pytest.raises(KeyUnavailable):
        other.write("acme", "another", table=other.codes)
    monkeypatch.undo()
    other.write("acme", "another", table=other.codes)
    assert recorded(lite) == [7200]
    other.close()
