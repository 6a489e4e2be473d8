"""Looking at many tenants: paged, filtered and counted in the database; nobody else is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.doctor import check_keys
from sqlalchemy_cmk.keys.model import TenantState
from tests.support.world import World

NAMES = ["", "ACME", "acme", "acme ", "b c", "globex", "ácme", "医院"]


def tenants(world: World, **choice: Any) -> list[str]:
    return [line.tenant for line in world.keyring.status(**choice)]


@contextmanager
def plans(world: World) -> Iterator[list[str]]:
    """How SQLite finds the rows of the statements in the block, where they read the key tables."""
    sent: list[tuple[str, Any]] = []
    found: list[str] = []

    def note(*args: Any) -> None:
        if args[2].startswith("SELECT"):
            sent.append((args[2], args[3]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    with world.engine.connect() as connection:
        for statement, parameters in sent:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found += [row[3] for row in rows if "cmk_" in row[3]]


def test_pages_follow_each_other_and_hold_each_tenant_once(world: World) -> None:
    world.keyring.warm(NAMES, new=True)
    every = tenants(world)
    assert sorted(every) == sorted(NAMES)
    pages, after = [], None
    while page := tenants(world, after=after, limit=3):
        pages.append(page)
        after = page[-1]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [name for page in pages for name in page] == every


def test_tenants_are_chosen_by_name_state_and_kek(lite: World) -> None:
    lite.keyring.warm(["globex", "hooli", "initech"], new=True)
    lite.keyring.assign("acme", "local:acme")
    lite.keyring.lifecycle.shred("hooli", confirm="hooli")
    assert tenants(lite, tenants=["globex", "nobody", "acme"]) == ["acme", "globex"]
    assert tenants(lite, state="shredded") == ["hooli"]
    assert tenants(lite, kek="local:acme") == ["acme"]
    assert tenants(lite, kek="local:pmk", state="ok", after="globex", limit=5) == ["initech"]
    assert lite.keyring.count() == {"ok": 3, "shredded": 1}
    assert lite.keyring.count(kek="local:acme") == {TenantState.OK: 1}


def test_what_cannot_be_asked_for_is_refused(lite: World) -> None:
    with pytest.raises(ConfigurationError, match="1 or more"):
        lite.keyring.status(limit=0)
    with pytest.raises(
        ConfigurationError, match="no state 'lost': give ok, revoked, locked, shredded, tampered"
    ):
        lite.keyring.status(state="lost")
    with pytest.raises(ConfigurationError, match=r"\['acme'\]"):
        lite.keyring.status("acme")


def test_each_line_is_verified_whatever_it_was_chosen_by(lite: World) -> None:
    lite.keyring.warm(["acme", "globex", "hooli"], new=True)
    lite.execute("UPDATE cmk_tenants SET state = 'revoked' WHERE tenant = 'globex'")
    lite.execute("UPDATE cmk_tenants SET state = 'lost' WHERE tenant = 'hooli'")
    for choice in ({"state": "revoked"}, {"tenants": ["globex"]}, {"after": "acme", "limit": 1}):
        (line,) = lite.keyring.status(**choice)  # type: ignore[arg-type]
        assert line.tenant == "globex" and line.state is TenantState.TAMPERED
    assert tenants(lite, state="tampered") == ["globex", "hooli"]
    assert tenants(lite, state="tampered", limit=1) == ["globex"]
    assert lite.keyring.count() == {"ok": 1, "revoked": 1, "tampered": 1}


def test_more_names_than_fit_one_statement_are_found(lite: World) -> None:
    lite.keyring.warm(["acme", "globex"], new=True)
    names = [*(f"no {i}" for i in range(1200)), "globex", "acme", "acme"]
    assert sorted(tenants(lite, tenants=names)) == ["acme", "globex"]


def test_no_whole_table_is_read_for_a_page_a_count_a_rotation_or_a_new_tenant(lite: World) -> None:
    lite.keyring.warm(["acme", "globex"], new=True)
    lite.provider.rotate("local:pmk")
    with plans(lite) as found:
        lite.keyring.status(limit=1)
        lite.keyring.status(["acme"])
        lite.keyring.status(state="revoked", limit=1)
        lite.keyring.status(kek="local:pmk", limit=1)
        lite.keyring.count()
        lite.keyring.count(kek="local:pmk")
        lite.keyring.notice_rotations()
        lite.keyring.warm(["hooli"], new=True)
        lite.keyring.assign("acme", "local:acme")
    assert len(found) > 10
    assert [one for one in found if one.startswith("SCAN") and " INDEX " not in one] == []


def test_noticing_rotations_asks_about_the_deks_in_use_here(lite: World) -> None:
    other = lite.new_keyring()
    before = [lite.active(name) for name in ("acme", "globex", "hooli")]
    other.lifecycle.rotate_dek("acme")
    other.lifecycle.shred("hooli", confirm="hooli")
    assert lite.keyring.store.no_longer_active(before) == {before[0], before[2]}
    lite.keyring.notice_rotations()
    assert set(lite.keyring.opened.active_ids()) == {before[1]}
    other.close()


def test_the_doctor_asks_a_kek_as_often_for_many_tenants_as_for_one(lite: World) -> None:
    lite.keyring.warm(["acme"], new=True)
    asked = []
    for _ in range(2):
        lite.provider.calls.clear()
        check_keys(lite.keyring)
        asked.append(list(lite.provider.calls))
        lite.keyring.warm([f"tenant {i}" for i in range(5)], new=True)
    assert asked[0] == asked[1]


def test_that_many_keks_have_opened_is_noted_by_one_statement(lite: World) -> None:
    lite.keyring.warm(["acme", "globex", "hooli"], new=True)
    lite.execute("UPDATE cmk_tenants SET seen_at = NULL")
    lite.keyring.kek_uses()
    lite.keyring.keys.background.flush()
    assert lite.raw("SELECT count(seen_at) FROM cmk_tenants") == [(3,)]
