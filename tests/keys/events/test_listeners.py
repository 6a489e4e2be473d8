"""Callbacks: which events they are called for, when, and what they cannot break."""

import threading
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk import (
    ConfigurationError,
    KeyEvent,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
    tenant_scope,
)
from sqlalchemy_cmk.keys import KeyEventKind
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.scope import current_tenant
from tests.keys.conftest import before_statement
from tests.support.waiting import until
from tests.support.world import World


class Ears:
    """A callback that notes what it hears."""

    def __init__(self, world: World, *kinds: str) -> None:
        self.heard: list[KeyEvent] = []
        self.world = world
        world.keyring.on_event(self.heard.append, *kinds)

    def kinds(self, count: int) -> list[str]:
        """The kinds of what was heard, once so many events were."""
        self.world.keyring.keys.background.flush()
        until(lambda: len(self.heard) >= count)
        return [str(one.kind) for one in self.heard]


@pytest.fixture
def clinic(lite: World) -> World:
    """acme, with a note under a KEK of its own."""
    lite.write("acme", "a note")
    lite.keyring.assign("acme", "local:acme")
    lite.read("acme")
    return lite


def refuse(kek_uri: str) -> None:
    raise KeyRevoked("the key is disabled")


def be_away(kek_uri: str) -> None:
    raise KeyUnavailable("the vault is away")


def be_there(kek_uri: str) -> None:
    pass


def test_an_event_says_what_its_row_of_the_trail_says(clinic: World) -> None:
    ears = Ears(clinic)
    clinic.keyring.lock("acme", reason="a laptop was stolen")
    assert ears.kinds(1) == ["locked"]
    (event,), rows = ears.heard, clinic.keyring.audit.entries("acme")
    row = next(one for one in rows if one.event == "lock")
    assert event.kind is KeyEventKind.LOCKED and (event.id, event.seq) == (row.hash, row.seq)
    assert (event.tenant, event.kek_uri, event.actor) == ("acme", "local:acme", row.actor)
    assert event.reason == "a laptop was stolen" and event.recorded_as == "lock"
    assert event.time.isoformat(timespec="microseconds") == row.at


def test_changes_of_keys_are_events_and_uses_are_not(clinic: World) -> None:
    ears = Ears(clinic)
    clinic.keyring.forget()
    clinic.read("acme")
    clinic.write("acme", "more")
    clinic.keyring.lifecycle.rotate_dek("acme")
    clinic.keyring.assign("acme", "local:other")
    clinic.provider.rotate("local:other")
    clinic.keyring.lifecycle.rewrap("acme")
    clinic.keyring.lock("acme")
    clinic.keyring.unlock("acme")
    clinic.keyring.lifecycle.shred("acme", confirm="acme")
    kinds = ["rotated", "rotated", "rotated", "locked", "unlocked", "shredded"]
    assert ears.kinds(6) == kinds
    assert [one.recorded_as for one in ears.heard[:3]] == ["rotate", "assign", "rewrap"]


def test_a_revocation_and_its_end(clinic: World) -> None:
    ears = Ears(clinic)
    clinic.provider.fault = refuse
    clinic.now += 300
    for _ in range(3):
        with pytest.raises(KeyRevoked):
            clinic.read("acme")
        clinic.now += 15
    clinic.keyring.keys.background.flush()
    clinic.provider.fault = be_there
    assert clinic.read("acme") == ["a note"]
    assert ears.kinds(2) == ["revoked", "restored"]
    assert ears.heard[0].reason == "the key is disabled" and ears.heard[0].kek_uri == "local:acme"


def test_an_outage_is_told_once_and_its_end_too(clinic: World) -> None:
    ears = Ears(clinic)
    clinic.provider.fault = be_away
    for _ in range(5):
        clinic.now += 300
        assert clinic.read("acme") == ["a note"]
    clinic.provider.fault = be_there
    for _ in range(3):
        clinic.now += 300
        assert clinic.read("acme") == ["a note"]
    assert ears.kinds(3) == ["unavailable", "grace_used", "restored"]
    clinic.provider.fault = be_away
    clinic.now += 4000
    with pytest.raises(KeyUnavailable):
        clinic.read("acme")
    assert ears.kinds(4)[3] == "unavailable"


def test_a_tenant_whose_proof_is_anothers_is_reached_again_too(clinic: World) -> None:
    clinic.write("acme", "a code", table=clinic.codes)
    ears = Ears(clinic, "unavailable", "restored")
    clinic.provider.fault = be_away
    clinic.now += 300
    clinic.read("acme")
    clinic.read("acme", table=clinic.codes)
    clinic.provider.fault = be_there
    clinic.now += 300
    clinic.read("acme")
    clinic.read("acme", table=clinic.codes)
    assert ears.kinds(2) == ["unavailable", "restored"]


def test_keys_that_were_altered_are_told_once_and_again_after_they_held(clinic: World) -> None:
    ears = Ears(clinic)
    for _ in range(2):
        clinic.execute("UPDATE cmk_tenants SET kek_uri = 'local:pmk' WHERE tenant = 'acme'")
        clinic.keyring.forget()
        for _ in range(2):
            with pytest.raises(TamperedError):
                clinic.read("acme")
        clinic.execute("UPDATE cmk_tenants SET kek_uri = 'local:acme' WHERE tenant = 'acme'")
        clinic.keyring.forget()
        assert clinic.read("acme") == ["a note"]
    assert ears.kinds(2) == ["tampered", "tampered"]
    assert ears.heard[0].tenant == "acme" and "kek_uri was changed" in ears.heard[0].reason
    assert clinic.keyring.audit.verify().problems == ()


def test_another_key_than_the_dek_is_tampering(clinic: World) -> None:
    clinic.write("globex", "theirs")
    ears = Ears(clinic)
    was = clinic.provider.unwrap
    clinic.keyring.forget()
    clinic.provider.unwrap = lambda wrapped: type(was(wrapped))(bytes(32))  # type: ignore[method-assign]
    with pytest.raises(TamperedError):
        clinic.read("globex")
    assert ears.kinds(1) == ["tampered"] and ears.heard[0].tenant == "globex"


def test_a_value_that_was_altered_is_tampering_told_once(clinic: World) -> None:
    clinic.write("acme", "more")
    ears = Ears(clinic)
    clinic.execute("UPDATE notes SET text = CAST(substr(text, 1, 9) || zeroblob(40) AS BLOB)")
    for _ in range(3):
        with pytest.raises(TamperedError):
            clinic.read("acme")
    assert ears.kinds(1) == ["tampered"]
    assert ears.heard[0].tenant == "acme" and "notes.text" in ears.heard[0].reason


def test_another_tenants_value_is_tampering_that_does_not_name_them(clinic: World) -> None:
    clinic.write("globex", "theirs")
    ears = Ears(clinic)
    clinic.execute(
        "UPDATE notes SET text = (SELECT text FROM notes WHERE owner = 'globex') WHERE owner = 'acme'"
    )
    with pytest.raises(TamperedError, match="globex"):
        clinic.read("acme")
    assert ears.kinds(1) == ["tampered"]
    assert ears.heard[0].tenant == "acme" and "globex" not in ears.heard[0].reason


def test_a_broken_trail_is_tampering_of_the_platform(clinic: World) -> None:
    ears = Ears(clinic, "tampered")
    clinic.execute("UPDATE cmk_audit_head SET mac = ''")
    clinic.keyring.lock("acme")
    assert ears.kinds(1) == ["tampered"] and ears.heard[0].tenant == ""
    assert ears.heard[0].recorded_as == "trail_broken"


def test_callbacks_hear_the_kinds_that_they_ask_for(clinic: World) -> None:
    few, all_kinds, decorated = Ears(clinic, "unlocked"), Ears(clinic), []

    @clinic.keyring.on_event("locked", "shredded")
    def hear(event: KeyEvent) -> None:
        decorated.append(event.kind)

    @clinic.keyring.on_event
    def hear_all(event: KeyEvent) -> None:
        decorated.append("any")

    clinic.keyring.lock("acme")
    clinic.keyring.unlock("acme")
    assert all_kinds.kinds(2) == ["locked", "unlocked"] and few.kinds(1) == ["unlocked"]
    until(lambda: decorated == ["locked", "any", "any"])
    assert callable(hear) and callable(hear_all)


def test_a_callback_is_called_after_the_commit_in_no_scope_and_on_another_thread(clinic: World) -> None:
    seen: list[Any] = []
    clinic.keyring.on_event(
        lambda event: seen.append(
            (threading.current_thread().name, current_tenant(), clinic.keyring.status(["acme"])[0].state)
        )
    )
    heard_before: list[int] = []
    with (
        tenant_scope("acme"),
        before_statement("UPDATE cmk_audit_head", lambda: heard_before.append(len(seen))),
    ):
        clinic.keyring.lock("acme")
    until(lambda: bool(seen))
    assert seen == [("cmk-events", None, "locked")] and set(heard_before) == {0}


def test_what_is_rolled_back_is_no_event(clinic: World) -> None:
    ears = Ears(clinic)
    clinic.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON cmk_audit_head WHEN new.hash <> old.hash "
        "BEGIN SELECT RAISE(FAIL, 'refused'); END"
    )
    with pytest.raises(IntegrityError):
        clinic.keyring.audit.now(AuditEvent(EventKind.LOCK, "acme"))
    clinic.execute("DROP TRIGGER refuse")
    clinic.keyring.lock("acme")
    assert ears.kinds(1) == ["locked"]


def test_a_callback_that_fails_or_hangs_breaks_nobody(
    clinic: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.keys.events.listeners.LAST_CALLS", 0.05)
    ends, after = threading.Event(), Ears(clinic)

    def fail(event: KeyEvent) -> None:
        raise ValueError("SECRET")

    clinic.keyring.on_event(fail)
    clinic.keyring.lock("acme")
    until(lambda: "failed at a key event locked: ValueError" in caplog.text)
    assert "SECRET" not in caplog.text and "fail" in caplog.text
    clinic.keyring.on_event(lambda event: ends.wait(), "unlocked")
    clinic.keyring.unlock("acme")
    assert clinic.read("acme") == ["a note"] and after.kinds(2) == ["locked", "unlocked"]
    clinic.keyring.close()
    ends.set()


def test_what_was_committed_last_is_heard_before_the_keyring_is_closed(clinic: World) -> None:
    heard: list[str] = []
    clinic.keyring.on_event(lambda event: heard.append(event.kind))
    for _ in range(5):
        clinic.keyring.lock("acme")
        clinic.keyring.unlock("acme")
    clinic.keyring.close()
    assert heard == ["locked", "unlocked"] * 5


@pytest.mark.parametrize("wrong", [None, 7, "no kind"])
def test_what_is_no_callback_is_refused(lite: World, wrong: Any) -> None:
    async def later(event: KeyEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="plain function"):
        lite.keyring.on_event(later)
    with pytest.raises(ConfigurationError):
        found = lite.keyring.on_event(wrong)
        found(print)


def test_each_kind_is_counted_without_naming_anybody(clinic: World) -> None:
    counted: list[Any] = []
    telemetry = clinic.keyring.keys._telemetry

    class Counter:
        def add(self, *arguments: Any) -> None:
            counted.append(arguments)

    telemetry._events = Counter()
    clinic.keyring.lock("acme")
    assert counted == [(1, {"cmk.event": "locked"})]
