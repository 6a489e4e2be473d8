"""Webhooks: events posted from a table, so that none is lost, whatever happens to receivers and senders."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn

from sqlalchemy_cmk import ConfigurationError, KeyEvent, Keyring, Webhook, verify_webhook
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.keys.conftest import statements
from tests.keys.processes import KILLED, die, exit_code, together
from tests.support.databases import Database
from tests.support.receiver import SECRET, Receiver
from tests.support.waiting import until
from tests.support.world import World


def to(receiver: Receiver, name: str = "siem", **options: Any) -> Webhook:
    return Webhook(name, receiver.url, SECRET, local=True, **options)


def settled(world: World) -> None:
    until(lambda: world.keyring.events.waiting() == [])


def leave_alone(world: World) -> None:
    """Have nothing sent in the background."""
    courier = world.keyring.keys.courier
    courier.look = lambda at_once: None  # type: ignore[method-assign]
    courier._alarm.close()


@pytest.fixture
def clinic(world: World, receiver: Receiver) -> World:
    return opened(world, receiver.url)


@pytest.fixture
def small(lite: World, receiver: Receiver) -> World:
    return opened(lite, receiver.url)


def opened(world: World, url: str) -> World:
    """acme with a note, and a webhook for everybody's events."""
    world.restart(webhooks=[Webhook("siem", url, SECRET, local=True)])
    world.write("acme", "a note")
    world.keyring.keys.background.flush()
    return world


def test_an_event_is_posted_as_a_signed_cloud_event(clinic: World, receiver: Receiver) -> None:
    heard: list[KeyEvent] = []
    clinic.keyring.on_event(heard.append)
    clinic.keyring.lock("acme", reason="a laptop was stolen")
    (request,) = receiver.wait_for(1)
    event = verify_webhook(request.headers, request.body, SECRET)
    until(lambda: bool(heard))
    assert request.path == "/cmk?code=1" and event == {
        "specversion": "1.0",
        "id": heard[0].id,
        "source": "urn:sqlalchemy_cmk",
        "type": "sqlalchemy_cmk.key.locked",
        "subject": "acme",
        "time": heard[0].time.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "kind": "locked",
            "tenant": "acme",
            "kek_uri": "local:pmk",
            "kek_version": "",
            "reason": "a laptop was stolen",
            "actor": heard[0].actor,
            "seq": heard[0].seq,
            "recorded_as": "lock",
        },
    }
    assert request.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["webhook-id"] == heard[0].id
    settled(clinic)


def test_what_a_receiver_does_not_take_is_tried_again_until_it_does(
    clinic: World, receiver: Receiver, impatient: None
) -> None:
    statuses = iter((503, 500, 307, 200))

    def answer(number: int) -> int:
        return next(statuses) if receiver.received[number].event["data"]["kind"] == "locked" else 204

    receiver.answer = answer
    clinic.keyring.lock("acme")
    clinic.keyring.unlock("acme")
    settled(clinic)
    events = [verify_webhook(one.headers, one.body, SECRET) for one in receiver.wait_for(5)]
    assert sorted(one["data"]["kind"] for one in events) == ["locked"] * 4 + ["unlocked"]
    assert len({one["id"] for one in events}) == 2, "each attempt has the event's id"


def test_a_sender_that_is_killed_after_posting_leaves_the_event_to_others(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = world.url, world.folder, receiver.url
    assert exit_code(_lock_and_die_after_the_post, *place) == KILLED
    (first,) = receiver.wait_for(1)
    # The dead sender's time passes.
    world.execute("UPDATE cmk_deliveries SET next_at = 0")
    assert exit_code(_send, *place) == 0
    assert len(receiver.received) == 2 and receiver.received[1].event == first.event
    assert world.raw("SELECT count(*) FROM cmk_deliveries") == [(0,)]


def test_what_a_process_has_left_is_sent_by_another_that_opens_a_key(
    small: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_alone(small)
    small.keyring.assign("acme", "local:acme")
    monkeypatch.setattr("sqlalchemy_cmk.keys.events.courier.EVERY", 0.1)
    other = _world(small.url, small.folder, receiver.url)
    assert other.read("acme") == ["a note"]
    other.keyring.keys.background.flush()
    assert receiver.wait_for(1)[0].event["data"]["kind"] == "rotated"
    settled(other)
    other.close()


def test_two_senders_do_not_send_an_event_at_once(world: World, receiver: Receiver) -> None:
    world.restart(webhooks=lambda tenant: [to(receiver)])
    leave_alone(world)
    for number in range(20):
        world.write(f"tenant {number}", "a note")
        world.keyring.lock(f"tenant {number}")
    assert len(world.keyring.events.waiting()) == 20
    sent = together(2, _send_and_count, world.url, world.folder, receiver.url)
    assert sum(sent) == 20 == len(receiver.received)
    assert len({one.event["id"] for one in receiver.received}) == 20


def test_a_receiver_that_hangs_holds_up_no_request_and_no_other_webhook(
    make_lite: Callable[..., World], receiver: Receiver
) -> None:
    ends = threading.Event()

    def answer(number: int) -> int:
        if receiver.received[number].path == "/hangs":
            ends.wait()
        return 200

    receiver.answer = answer
    hanging = receiver.url.partition("/cmk")[0] + "/hangs"
    world = make_lite()
    hooks = [Webhook("hangs", hanging, SECRET, local=True), to(receiver, "answers")]
    world.restart(webhooks=lambda tenant: hooks)
    world.write("acme", "a note")
    world.keyring.lock("acme")
    until(lambda: len(receiver.received) >= 2)
    began = time.monotonic()
    world.keyring.unlock("acme")
    assert world.read("acme") == ["a note"] and time.monotonic() - began < 5
    until(lambda: [one.path for one in receiver.received].count("/cmk?code=1") == 2)
    assert [one.path for one in receiver.received].count("/hangs") == 1
    world.keyring.close()
    ends.set()


def test_a_webhook_that_drips_is_given_up_in_time(
    small: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.keys.events.posting.ANSWER", 0.2)
    ends = threading.Event()
    receiver.answer = lambda number: 200 if ends.wait() else 0
    small.keyring.lock("acme")
    until(lambda: [one.problem for one in small.keyring.events.waiting()] == ["TimeoutError"])
    ends.set()


def test_each_tenant_has_its_own_webhooks_and_hears_of_nobody_else(
    make_lite: Callable[..., World], receiver: Receiver
) -> None:
    world = make_lite()
    address = receiver.url.partition("/cmk")[0]
    world.restart(webhooks=lambda tenant: [Webhook("own", f"{address}/{tenant}", SECRET, local=True)])
    for tenant in ("acme", "globex"):
        world.write(tenant, "a note")
        world.keyring.lock(tenant)
    settled(world)
    assert sorted((one.path, one.event["data"]["tenant"]) for one in receiver.wait_for(2)) == [
        ("/acme", "acme"),
        ("/globex", "globex"),
    ]
    assert all(b"globex" not in one.body for one in receiver.received if one.path == "/acme")


def test_a_webhook_hears_the_kinds_that_it_wants(make_lite: Callable[..., World], receiver: Receiver) -> None:
    world = make_lite()
    world.restart(webhooks=[to(receiver, kinds=["unlocked"])])
    world.write("acme", "a note")
    world.keyring.lock("acme")
    world.keyring.unlock("acme")
    settled(world)
    assert receiver.kinds() == ["unlocked"]


@pytest.mark.parametrize(
    "forging",
    [
        "INSERT INTO cmk_deliveries VALUES (1, 'siem', 'acme', 'waiting', 0, 0, 0, '')",
        "INSERT INTO cmk_deliveries VALUES (999, '', 'acme', 'waiting', 0, 0, 0, '')",
    ],
    ids=["a row that is for nobody", "a row that does not exist"],
)
def test_a_forged_delivery_is_not_sent(clinic: World, receiver: Receiver, forging: str) -> None:
    clinic.execute(forging)
    clinic.keyring.events.send()
    until(lambda: [one.state for one in clinic.keyring.events.dead()] == ["dead"])
    assert receiver.received == []


def test_rows_that_are_no_deliveries_hold_up_no_other(small: World, receiver: Receiver) -> None:
    for junk in (
        "'x', 'siem', 'acme', 'waiting', 0, 0, 0, ''",
        "5, '', 'acme', 'waiting', 'x', 'x', -1, x'ff'",
    ):
        small.execute(f"INSERT INTO cmk_deliveries VALUES ({junk})")
    small.keyring.lock("acme")
    assert receiver.wait_for(1)[0].event["data"]["kind"] == "locked"
    small.keyring.unlock("acme")
    assert receiver.wait_for(2)[1].event["data"]["kind"] == "unlocked"


def test_another_tenants_event_is_not_sent_to_a_webhook(
    make_lite: Callable[..., World], receiver: Receiver
) -> None:
    world = make_lite()
    world.restart(webhooks=lambda tenant: [to(receiver, f"of-{tenant}")])
    world.write("acme", "a note")
    world.keyring.lock("acme")
    settled(world)
    seq = receiver.wait_for(1)[0].event["data"]["seq"]
    world.execute(f"INSERT INTO cmk_deliveries VALUES ({seq}, 'of-globex', 'globex', 'waiting', 0, 0, 0, '')")
    world.execute(f"INSERT INTO cmk_deliveries VALUES ({seq}, 'of-globex2', 'acme', 'waiting', 0, 0, 0, '')")
    world.keyring.events.send()
    until(lambda: len(world.keyring.events.dead()) == 2)
    assert len(receiver.received) == 1
    assert [one.problem for one in world.keyring.events.dead()] == [
        "this delivery is none that was written here",
        "the application names no such webhook for this tenant",
    ]


def test_a_true_event_can_be_sent_again_or_kept_back_by_who_writes_to_the_table(
    small: World, receiver: Receiver
) -> None:
    leave_alone(small)
    small.keyring.lock("acme")
    assert small.keyring.events.send().sent == 1
    seq = receiver.received[0].event["data"]["seq"]
    small.execute(f"INSERT INTO cmk_deliveries VALUES ({seq}, 'siem', 'acme', 'waiting', 0, 0, 0, '')")
    assert small.keyring.events.send().sent == 1
    assert receiver.received[0].body == receiver.received[1].body, "the receiver drops it by its id"
    small.keyring.unlock("acme")
    small.execute("DELETE FROM cmk_deliveries")
    assert small.keyring.events.send().sent == 0
    assert small.keyring.audit.entries("acme")[-1].event == "unlock"


def test_a_row_of_the_trail_that_was_altered_is_not_sent(
    clinic: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    leave_alone(clinic)
    clinic.keyring.lock("acme", reason="true")
    clinic.execute("UPDATE cmk_audit SET detail = 'click http://evil.example' WHERE event = 'lock'")
    assert clinic.keyring.events.send().dead == 1 and receiver.received == []
    (dead,) = clinic.keyring.events.dead("acme")
    assert "not authentic: it was changed" in dead.problem and "given up" in caplog.text
    # Put right, it is sent when somebody asks for it.
    clinic.execute("UPDATE cmk_audit SET detail = 'true' WHERE event = 'lock'")
    assert clinic.keyring.events.retry("globex") == 0 and clinic.keyring.events.retry("acme") == 1
    assert clinic.keyring.events.send().sent == 1 and receiver.kinds() == ["locked"]


def test_an_event_that_waits_while_the_record_key_is_rotated_is_sent(
    small: World, receiver: Receiver
) -> None:
    leave_alone(small)
    small.keyring.lock("acme")
    small.keyring.unlock("acme")
    old = small.keyring.record_keys.current().id
    small.keyring.record_key.rotate()
    small.restart(webhooks=[to(receiver)])
    leave_alone(small)
    assert small.keyring.record_keys.find(old) is None
    assert small.keyring.events.send().sent == 2 and receiver.kinds() == ["locked", "unlocked"]


def test_a_row_of_a_dropped_record_key_that_no_later_row_vouches_for_is_not_sent(
    small: World, receiver: Receiver
) -> None:
    leave_alone(small)
    small.keyring.lock("acme", reason="true")
    small.keyring.unlock("acme")
    small.keyring.record_key.rotate()
    seq = small.keyring.events.waiting()[0].seq
    (entry,) = (one for one in small.keyring.audit.entries() if one.seq == seq)
    forged = replace(entry, detail="false").computed_hash()
    small.execute(f"UPDATE cmk_audit SET detail = 'false', hash = '{forged}' WHERE seq = {seq}")
    report = small.keyring.events.send()
    assert (report.sent, report.dead) == (1, 1) and receiver.kinds() == ["unlocked"]


def test_a_row_with_a_hash_but_no_mac_of_the_record_key_is_not_sent(small: World, receiver: Receiver) -> None:
    leave_alone(small)
    small.keyring.lock("acme")
    small.execute("UPDATE cmk_audit SET mac = '' WHERE event = 'lock'")
    assert small.keyring.events.send().dead == 1 and receiver.received == []


def test_an_event_is_given_up_after_three_days_and_at_once_where_the_receiver_is_gone(
    small: World, receiver: Receiver, impatient: None
) -> None:
    leave_alone(small)
    receiver.answer = lambda number: 410 if number else 500
    small.keyring.lock("acme")
    small.execute("UPDATE cmk_deliveries SET since = since - 3 * 24 * 3600")
    assert small.keyring.events.send().dead == 1
    small.keyring.unlock("acme")
    assert small.keyring.events.send().dead == 1
    assert [one.problem for one in small.keyring.events.dead()] == ["HTTP 500", "HTTP 410"]


def test_what_was_rolled_back_with_its_row_of_the_trail_is_not_sent(small: World, receiver: Receiver) -> None:
    small.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON cmk_audit_head WHEN new.hash <> old.hash "
        "BEGIN SELECT RAISE(FAIL, 'refused'); END"
    )
    with pytest.raises(IntegrityError, match="refused"):
        small.keyring.audit.now(AuditEvent(EventKind.LOCK, "acme"))
    assert small.raw("SELECT count(*) FROM cmk_deliveries") == [(0,)]


def test_the_applications_function_may_fail_and_is_asked_again(
    make_lite: Callable[..., World], receiver: Receiver, impatient: None
) -> None:
    world, asked = make_lite(), []

    def webhooks(tenant: str) -> list[Webhook]:
        asked.append(tenant)
        if len(asked) < 3:
            raise RuntimeError("SECRET")
        return [to(receiver)]

    world.restart(webhooks=webhooks)
    world.write("acme", "a note")
    world.keyring.lock("acme")
    assert receiver.wait_for(1)[0].event["data"]["kind"] == "locked"
    assert set(asked) == {"acme"} and len(asked) >= 3


def test_nothing_is_written_for_webhooks_where_there_are_none(lite: World) -> None:
    with statements() as seen:
        lite.write("acme", "a note")
        lite.keyring.lock("acme")
        lite.keyring.unlock("acme")
        lite.keyring.keys.background.flush()
    assert [one for one in seen if "cmk_deliveries" in one] == []


def test_a_request_for_open_keys_does_nothing_for_webhooks(small: World, receiver: Receiver) -> None:
    small.read("acme")
    with statements() as seen:
        for _ in range(5):
            small.read("acme")
            small.write("acme", "more")
    assert [one for one in seen if "cmk_deliveries" not in one or not one.startswith("SELECT")] == []


def test_a_child_process_sends_for_itself(small: World, receiver: Receiver) -> None:
    small.keyring.lock("acme")
    receiver.wait_for(1)
    settled(small)
    small.engine.dispose()
    child = os.fork()
    if child == 0:
        try:
            small.engine.dispose(close=False)
            small.keyring.unlock("acme")
            until(lambda: small.raw("SELECT count(*) FROM cmk_deliveries") == [(0,)])
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert receiver.kinds() == ["locked", "unlocked"]


async def test_under_asyncio_nothing_waits_and_everything_is_sent(
    async_database: Database, tmp_path: Path, receiver: Receiver
) -> None:
    engine = create_async_engine(async_database.async_url)
    async with Keyring(
        engine,
        platform_key="local:pmk",
        providers=[LocalKeyProvider(tmp_path / "keys.json")],
        webhooks=[to(receiver)],
    ) as keyring:
        metadata = MetaData()
        keyring.protect(metadata)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await greenlet_spawn(keyring.assign, "acme", "local:acme")
        await greenlet_spawn(keyring.lock, "acme")
        assert await asyncio.to_thread(receiver.wait_for, 2)
        while await greenlet_spawn(keyring.events.waiting):
            await asyncio.sleep(0.02)
    await engine.dispose()
    assert sorted(receiver.kinds()) == ["locked", "rotated"]


@pytest.mark.parametrize(
    "wrong", [7, "https://siem.example", [None], [Webhook("a", "https://a.example", SECRET)] * 2]
)
def test_what_are_no_webhooks_is_refused(make_lite: Callable[..., World], wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="a list of Webhook"):
        make_lite(webhooks=wrong)


def _world(url: str, folder: Path, address: str) -> World:
    return World(url, folder, webhooks=[Webhook("siem", address, SECRET, local=True)])


def _lock_and_die_after_the_post(url: str, folder: Path, address: str) -> None:
    world = _world(url, folder, address)
    world.keyring.keys._outbox.done = lambda one: die()  # type: ignore[method-assign]
    world.write("acme", "a note")
    world.keyring.lock("acme")
    threading.Event().wait()


def _send(url: str, folder: Path, address: str) -> None:
    world = _world(url, folder, address)
    assert world.keyring.events.send().sent == 1
    world.close()


def _send_and_count(url: str, folder: Path, address: str) -> int:
    world = _world(url, folder, address)
    sent = world.keyring.events.send().sent
    world.close()
    return sent
