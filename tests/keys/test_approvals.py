"""Two people for what cannot be undone: requests, their approval, and that each is used once."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text, update

from sqlalchemy_cmk import ApprovalRequired, CmkError, ConfigurationError, KeyRevoked, Keyring, TamperedError
from sqlalchemy_cmk.keys.approvals.request import RequestState
from sqlalchemy_cmk.keys.approvals.table import make_requests_table
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.rekey import drop_retired
from sqlalchemy_cmk.runtime.clock import this_second
from tests.keys.conftest import before_statement
from tests.keys.processes import KILLED, die, exit_code, together
from tests.support.databases import Database
from tests.support.keys import adopt
from tests.support.providers import CountingProvider
from tests.support.world import World

ALL = ("shred", "drop_retired", "assign", "unlock")
Act = Callable[[World], object]


def guarded(url: str, folder: Path, **options: Any) -> World:
    """A world whose changes need two people; acme has a KEK of its own, and a note."""
    world = World(url, folder, **{"two_people": ALL, "actor": "ann", **options}).create()
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "a note")
    return world


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """One on each database in turn."""
    world = guarded(database.url, tmp_path)
    yield world
    world.close()


@pytest.fixture
def lite(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    """One on SQLite: what is tried is the same on each database."""
    world = guarded(sqlite_database.url, tmp_path)
    yield world
    world.close()


def asked(world: World, act: Act) -> str:
    """The id of the request that an act makes."""
    with pytest.raises(ApprovalRequired) as caught:
        act(world)
    assert caught.value.request in str(caught.value) and caught.value.tenant == "acme"
    return caught.value.request


def approve(world: World, request: str, actor: str = "bob") -> None:
    with world.keyring.because("looked at it", actor=actor):
        assert world.keyring.approvals.approve(request).decided_by == actor


def state(world: World) -> TenantState:
    return next(line.state for line in world.keyring.status(["acme"]))


def kek(world: World) -> str:
    return next(line.kek_uri for line in world.keyring.status(["acme"]))


def events(world: World, *kinds: str) -> list[str]:
    return [one.event for one in world.keyring.audit.entries("acme") if one.event in kinds]


def shred(world: World) -> None:
    world.keyring.lifecycle.shred("acme", confirm="acme")


def assign(world: World) -> None:
    world.keyring.assign("acme", "local:pmk")


def unlock(world: World) -> None:
    world.keyring.unlock("acme", reason="it was found")


def retired_long_ago(world: World) -> None:
    world.keyring.lifecycle.rotate_dek("acme")
    deks = world.keyring.database.tables.deks
    with world.engine.begin() as connection:
        retired = deks.update().where(deks.c.state == "retired")
        connection.execute(retired.values(retired_at=this_second() - timedelta(days=9)))
        connection.execute(text("DELETE FROM notes"))
    adopt(world.keyring)


def test_shredding_waits_for_somebody_else_and_is_then_done_once(world: World) -> None:
    request = asked(world, shred)
    assert state(world) is TenantState.OK and asked(world, shred) == request
    approve(world, request)
    with world.keyring.because("contract ended", actor="carol"):
        shred(world)
    assert state(world) is TenantState.SHREDDED
    with pytest.raises(KeyRevoked):
        world.read("acme")
    assert events(world, "requested", "approved", "shred") == ["requested", "approved", "shred"]
    done = world.keyring.audit.entries("acme")[-1]
    assert f"request {request} of ann, approved by bob" in done.detail and done.actor == "carol"
    assert world.keyring.approvals.find(request).state is RequestState.USED
    assert world.keyring.approvals.pending() == [] and world.keyring.audit.verify().problems == ()


def test_a_customers_key_is_left_with_a_second_person_only(world: World) -> None:
    request = asked(world, assign)
    (found,) = world.keyring.approvals.pending("acme")
    assert json.loads(found.arguments) == {
        "fresh_dek": False,
        "kek": "local:pmk",
        "leaves": ["local:acme"],
    }
    approve(world, request)
    with pytest.raises(ApprovalRequired):  # that was not what was approved
        world.keyring.assign("acme", "local:pmk", fresh_dek=True)
    with pytest.raises(ApprovalRequired):
        world.keyring.assign("acme", "local:other")
    assert kek(world) == "local:acme"
    assign(world)
    assert kek(world) == "local:pmk"
    world.keyring.assign("acme", "local:acme")  # towards a customer's key nobody else is needed
    world.keyring.assign("acme", "local:acme", fresh_dek=True)
    assert asked(world, assign) != request


def join(world: World) -> None:
    world.keyring.lifecycle.add_wrapping("acme", "local:pmk")


def test_the_platforms_key_is_put_beside_a_customers_with_a_second_person_only(lite: World) -> None:
    request = asked(lite, join)
    lite.provider.disable("local:acme")
    lite.keyring.forget()
    with pytest.raises(KeyRevoked):
        lite.read("acme")
    lite.provider.enable("local:acme")
    lite.keyring.forget()
    assert lite.read("acme") == ["a note"]
    request = asked(lite, join)  # the refusal has changed the keys
    approve(lite, request)
    join(lite)
    (added,) = (one for one in lite.keyring.audit.entries("acme") if one.event == "add_wrapping")
    assert f"request {request} of ann" in added.detail


def test_taking_away_a_wrapping_of_a_customers_key_is_leaving_it_too(lite: World) -> None:
    approve(lite, asked(lite, join))
    join(lite)
    request = asked(lite, lambda w: w.keyring.lifecycle.drop_wrapping("acme", "local:acme"))
    approve(lite, request)
    assert lite.keyring.lifecycle.drop_wrapping("acme", "local:acme") == 1
    assert kek(lite) == "local:pmk"


def test_unlocking_needs_a_second_person_and_locking_does_not(world: World) -> None:
    world.keyring.lock("acme")
    request = asked(world, unlock)
    assert state(world) is TenantState.LOCKED
    assert world.keyring.approvals.pending()[0].reason == "it was found"
    approve(world, request)
    unlock(world)
    assert world.read("acme") == ["a note"]
    world.keyring.lock("acme")
    assert asked(world, unlock) != request  # that was another lock


def test_retired_deks_are_destroyed_once_these_were_approved(world: World) -> None:
    retired_long_ago(world)
    request = asked(world, lambda w: drop_retired(w.keyring, "acme"))
    (found,) = world.keyring.approvals.pending()
    approve(world, request)
    report = drop_retired(world.keyring, "acme")
    assert [one.hex() for one in report.dropped] == json.loads(found.arguments)["deks"]


def test_of_all_tenants_each_has_a_request_of_its_own(lite: World) -> None:
    lite.keyring.assign("globex", "local:globex")
    lite.write("globex", "another")
    report = lite.keyring.assign_many(["acme", "globex", "initech"], "local:pmk")
    assert report.assigned == ["initech"] and report.requested.keys() == {"acme", "globex"}
    approve(lite, report.requested["acme"])
    again = lite.keyring.assign_many(["acme", "globex"], "local:pmk")
    assert again.assigned == ["acme"] and again.requested == {"globex": report.requested["globex"]}
    retired_long_ago(lite)
    assert drop_retired(lite.keyring).requested.keys() == {"acme"}


def test_nobody_approves_what_they_have_asked_for(lite: World) -> None:
    request = asked(lite, shred)
    with pytest.raises(ConfigurationError, match="another person has to approve it"):
        lite.keyring.approvals.approve(request)
    with lite.keyring.because("tired", actor="bob"):
        other = asked(lite, assign)
        with pytest.raises(ConfigurationError, match="made by 'bob'"):
            lite.keyring.approvals.approve(other)
    assert [one.state for one in lite.keyring.approvals.pending()] == [RequestState.PENDING] * 2
    assert events(lite, "approved") == []


def test_an_actor_that_cannot_be_told_asks_for_nothing_and_approves_nothing(lite: World) -> None:
    request = asked(lite, shred)
    lite.restart(two_people=ALL, actor=lambda: " ")
    for act in (assign, lambda w: w.keyring.approvals.approve(request)):
        with pytest.raises(ConfigurationError, match="not known who acts"):
            act(lite)


def test_a_process_user_is_not_taken_from_the_environment(
    lite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.restart(two_people=ALL)
    request = asked(lite, shred)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    with pytest.raises(ConfigurationError, match="another person"):
        lite.keyring.approvals.approve(request)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.keyring.lifecycle.rotate_dek("acme"),
        lambda w: w.keyring.lifecycle.set_grace("acme", 7),
        lambda w: w.keyring.lifecycle.add_wrapping("acme", "local:west"),
    ],
)
def test_what_was_approved_is_void_once_the_keys_have_changed(lite: World, change: Act) -> None:
    waiting, approved = asked(lite, assign), asked(lite, shred)
    approve(lite, approved)
    change(lite)
    with pytest.raises(ApprovalRequired, match=f"request {approved}, which was approved, is void") as caught:
        shred(lite)
    assert caught.value.request != approved and state(lite) is TenantState.OK
    with pytest.raises(ConfigurationError, match="keys have changed since"):
        approve(lite, waiting)
    assert events(lite, "request_expired") == ["request_expired"] * 2


def test_requests_expire(lite: World) -> None:
    waiting, approved = asked(lite, assign), asked(lite, shred)
    approve(lite, approved)
    lite.keyring.approvals.set_clock(lambda: this_second() + timedelta(seconds=86_400))
    with pytest.raises(ConfigurationError, match="is expired"):
        approve(lite, waiting)
    with pytest.raises(ApprovalRequired, match="has expired"):
        shred(lite)
    assert [one.state for one in lite.keyring.approvals.pending()] == [RequestState.PENDING]
    assert events(lite, "request_expired") == ["request_expired"] * 2


def test_requests_are_refused_and_withdrawn_also_when_they_were_approved(lite: World) -> None:
    one = asked(lite, shred)
    approve(lite, one)
    with lite.keyring.because("second thoughts", actor="carol"):
        refused = lite.keyring.approvals.refuse(one, "the contract goes on")
    assert (refused.state, refused.decision) == (RequestState.REFUSED, "the contract goes on")
    with pytest.raises(ConfigurationError, match="the contract goes on"):
        approve(lite, one)
    other = asked(lite, assign)
    with (
        lite.keyring.because("not mine", actor="bob"),
        pytest.raises(ConfigurationError, match="made by 'ann'"),
    ):
        lite.keyring.approvals.withdraw(other)
    assert lite.keyring.approvals.withdraw(other).state is RequestState.WITHDRAWN
    assert lite.keyring.approvals.pending() == []
    assert events(lite, "refused") == ["refused", "refused"]


@pytest.mark.parametrize("was_approved", [False, True])
def test_a_refused_request_that_is_put_back_is_void(lite: World, was_approved: bool) -> None:
    request = asked(lite, shred)
    if was_approved:
        approve(lite, request)
    with lite.engine.connect() as connection:
        approved = dict(connection.execute(text("SELECT * FROM cmk_requests")).mappings().one())
    lite.keyring.approvals.refuse(request)
    put_back(lite, approved)
    with pytest.raises(ConfigurationError, match=r"keys have changed since|is approved already"):
        approve(lite, request)
    with pytest.raises(ApprovalRequired, match="is void" if was_approved else "and nothing was changed"):
        shred(lite)
    assert state(lite) is TenantState.OK


def test_a_used_approval_that_is_put_back_is_void(lite: World) -> None:
    request = asked(lite, assign)
    approve(lite, request)
    with lite.engine.connect() as connection:
        approved = dict(connection.execute(text("SELECT * FROM cmk_requests")).mappings().one())
    assign(lite)
    lite.keyring.assign("acme", "local:acme")
    put_back(lite, approved)
    with pytest.raises(ApprovalRequired, match="is void"):
        assign(lite)


def put_back(world: World, row: dict[str, Any]) -> None:
    table = world.keyring.database.tables_of(make_requests_table)
    with world.engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == row["id"]).values(row))


@pytest.mark.parametrize(
    "forged",
    [
        "state = 'approved', decided_by = 'bob'",
        "requested_by = 'bob'",
        "epoch = 99",
        "arguments = '{}'",
        "expires_at = '2999-01-01T00:00:00+00:00'",
        "mac = ''",
        "mac = 'no hexadecimal digits'",
        "key_id = 'another'",
        "tenant = 'globex'",
    ],
)
def test_a_row_that_somebody_else_has_written_is_refused(lite: World, forged: str) -> None:
    request = asked(lite, shred)
    lite.execute(f"UPDATE cmk_requests SET {forged}")
    approvals = lite.keyring.approvals
    for act in (approvals.pending, lambda: approve(lite, request), lambda: approvals.refuse(request)):
        with pytest.raises(TamperedError, match=request):
            act()
    with pytest.raises(CmkError):
        shred(lite)
    assert state(lite) is TenantState.OK


def test_without_a_record_key_it_is_refused_where_it_is_asked_for(sqlite_database: Database) -> None:
    class NoPlace(CountingProvider):
        def record_key_file(self) -> None:
            return None

    options: Any = {"platform_key": "local:pmk", "two_people": ["shred"]}
    folder = Path(sqlite_database.url.removeprefix("sqlite:///")).parent
    with pytest.raises(ConfigurationError, match="two_people= needs a record key"):
        Keyring(create_engine(sqlite_database.url), providers=[NoPlace(folder / "keys.json")], **options)


@pytest.mark.parametrize("given", ["shred", ["shredding"], ["rotate"], [7]])
def test_what_cannot_be_guarded_is_named(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="two_people is a list of operations"):
        Keyring(platform_key="local:pmk", providers=[CountingProvider(tmp_path / "k")], two_people=given)


def test_a_reason_is_needed_for_the_request_and_for_what_is_done(lite: World) -> None:
    lite.restart(two_people=ALL, actor="ann", reason_for=["shred", "approved"])
    with pytest.raises(ConfigurationError, match="shred needs a reason"):
        shred(lite)
    assert lite.keyring.approvals.pending() == []
    with lite.keyring.because("contract ended"):
        request = asked(lite, shred)
    approve(lite, request)
    assert lite.keyring.approvals.find(request).reason == "contract ended"
    with pytest.raises(ConfigurationError, match="shred needs a reason"):
        shred(lite)
    with lite.keyring.because("contract ended"):
        shred(lite)


def test_open_requests_end_with_the_record_key_that_authenticates_them(lite: World) -> None:
    request = asked(lite, shred)
    lite.keyring.record_key.rotate()
    assert lite.keyring.approvals.pending() == []
    assert asked(lite, shred) != request


def try_to_assign(url: str, folder: Path) -> str:
    world = World(url, folder, two_people=ALL, actor="ann")
    try:
        world.keyring.assign("acme", "local:pmk", fresh_dek=True)
    except ApprovalRequired:
        return "asked"
    finally:
        world.close()
    return "done"


def try_to_drop(url: str, folder: Path) -> int:
    world = World(url, folder, two_people=ALL, actor="ann")
    try:
        return len(drop_retired(world.keyring, "acme").dropped)
    finally:
        world.close()


def test_two_processes_ask_for_the_same_with_one_request(world: World) -> None:
    assert together(2, try_to_assign, world.url, world.folder) == ["asked", "asked"]
    assert len(world.keyring.approvals.pending()) == 1
    assert events(world, "requested") == ["requested"]


def test_of_two_processes_one_uses_an_approval(world: World) -> None:
    retired_long_ago(world)
    approve(world, asked(world, lambda w: drop_retired(w.keyring, "acme")))
    assert sorted(together(2, try_to_drop, world.url, world.folder)) == [0, 1]
    assert events(world, "drop_retired", "requested") == ["requested", "drop_retired"]


def shred_and_die(url: str, folder: Path) -> None:
    world = World(url, folder, two_people=ALL, actor="ann")
    with before_statement("UPDATE cmk_audit_head SET seq", die):
        shred(world)


def test_a_process_that_dies_has_used_no_approval(world: World) -> None:
    request = asked(world, shred)
    approve(world, request)
    assert exit_code(shred_and_die, world.url, world.folder) == KILLED
    assert state(world) is TenantState.OK and world.read("acme") == ["a note"]
    assert [one.state for one in world.keyring.approvals.pending()] == [RequestState.APPROVED]
    shred(world)
    assert world.keyring.approvals.find(request).state is RequestState.USED
