"""The audit trail: what is in it, and that a changed, removed or exchanged row is found."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable
from tests.support.world import World


@pytest.fixture
def filled(world: World) -> World:
    for number in range(3):
        world.write(f"tenant {number}", "one")
    world.keyring.assign("tenant 1", "local:own")
    return world


def test_every_event_says_who_from_where_and_about_what(filled: World) -> None:
    entries = filled.keyring.audit.entries()
    assert [(one.event, one.tenant) for one in entries] == [
        ("wrap", "tenant 0"),
        ("wrap", "tenant 1"),
        ("wrap", "tenant 2"),
        ("assign", "tenant 1"),
    ]
    assert entries[-1].kek_uri == "local:own" and str(os.getpid()) in entries[-1].origin
    assert all(one.actor and one.at.endswith("+00:00") for one in entries)


def test_each_thing_that_happens_to_keys_is_an_event(filled: World) -> None:
    lifecycle, provider = filled.keyring.lifecycle, filled.provider
    filled.keyring.forget("tenant 1")
    filled.read("tenant 1")
    provider.rotate("local:own")
    lifecycle.rewrap("tenant 1")
    lifecycle.rotate_dek("tenant 1")
    lifecycle.add_wrapping("tenant 1", "local:east")
    lifecycle.drop_wrapping("tenant 1", "local:east")
    provider.disable("local:own")
    with pytest.raises(KeyRevoked):
        filled.read("tenant 1")
    assert filled.keyring.status()
    provider.enable("local:own")
    filled.keyring.forget("tenant 1")
    filled.read("tenant 1")
    assert filled.keyring.status()
    lifecycle.shred("tenant 1", confirm="tenant 1")
    entries = filled.keyring.audit.entries("tenant 1")
    told = [one.event for one in entries if one.event != "unwrap"]
    assert told == [
        "wrap",
        "assign",
        "rewrap",
        "rotate",
        "add_wrapping",
        "drop_wrapping",
        "revoked",
        "restored",
        "shred",
    ]
    assert "unwrap" in {one.event for one in entries}
    assert all(one.actor and str(os.getpid()) in one.origin and one.kek_uri for one in entries)
    assert "disabled" in next(one.detail for one in entries if one.event == "revoked")


def test_the_application_names_who_acts(filled: World) -> None:
    who = "first"
    filled.keyring.close()
    filled.keyring = filled.new_keyring(actor=lambda: who)
    filled.keyring.protect(filled.metadata)
    filled.keyring.warm(["fourth"], new=True)
    who = "second"
    filled.keyring.assign("fourth", "local:own")
    assert [one.actor for one in filled.keyring.audit.entries("fourth")][-2:] == ["first", "second"]


def test_a_cold_open_is_one_row_and_values_are_none(filled: World) -> None:
    filled.restart()
    for _ in range(5):
        filled.read()
    filled.write("tenant 0", *map(str, range(50)))
    opens = [one.tenant for one in filled.keyring.audit.entries() if one.event == "unwrap"]
    assert sorted(opens) == ["tenant 0", "tenant 1", "tenant 2"]


def test_an_untouched_trail_verifies(filled: World) -> None:
    verdict = filled.keyring.audit.verify()
    assert verdict.problems == () and verdict.rows == 4
    filled.keyring.warm(["later"], new=True)
    later = filled.keyring.audit.verify()
    assert later.problems == () and later.head != verdict.head
    assert later.authenticated


TAMPERING = {
    "changed": ["UPDATE cmk_audit SET actor = 'x' WHERE seq = 2"],
    "removed": ["DELETE FROM cmk_audit WHERE seq = 2"],
    "removed at the beginning": ["DELETE FROM cmk_audit WHERE seq = 1"],
    "removed at the end": ["DELETE FROM cmk_audit WHERE seq = 4"],
    "all removed": ["DELETE FROM cmk_audit"],
    "exchanged": [
        "UPDATE cmk_audit SET seq = 99 WHERE seq = 2",
        "UPDATE cmk_audit SET seq = 2 WHERE seq = 3",
        "UPDATE cmk_audit SET seq = 3 WHERE seq = 99",
    ],
    "the head": ["UPDATE cmk_audit_head SET hash = 'x'"],
    "the head moved back": ["UPDATE cmk_audit_head SET seq = 2"],
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(filled: World, how: str) -> None:
    assert filled.keyring.audit.verify().problems == ()
    for statement in TAMPERING[how]:
        filled.execute(statement)
    assert filled.keyring.audit.verify().problems


def test_many_threads_append_one_chain(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: world.keyring.warm([f"tenant {number}"], new=True), range(40)))
    verdict = world.keyring.audit.verify()
    assert verdict.problems == () and verdict.rows == 40


SCRIPT = """
import sys, time
from pathlib import Path
from tests.support.world import World
world = World(sys.argv[1], Path(sys.argv[2]))
for number in range(10_000):
    world.keyring.warm([f"{sys.argv[3]} {number}"], new=True)
    world.keyring.forget()
    world.keyring.warm([f"{sys.argv[3]} {number}"], new=True)
"""


def test_processes_that_are_killed_leave_a_whole_chain(world: World) -> None:
    world.keyring.warm(["first"], new=True)
    folder = str(world.folder)
    for round_ in range(2):
        command = [sys.executable, "-c", SCRIPT, world.url, folder]
        running = [subprocess.Popen([*command, f"{round_} {name}"]) for name in ("a", "b", "c")]
        try:
            wait_for_rows(world, 10 * (round_ + 1))
        finally:
            for process in running:
                process.send_signal(signal.SIGKILL)
                process.wait()
    verdict = world.keyring.audit.verify()
    assert verdict.problems == () and verdict.rows > 20


def wait_for_rows(world: World, count: int) -> None:
    table = world.metadata.tables["cmk_audit"]
    for _ in range(6000):
        try:
            with world.engine.connect() as connection:
                if len(connection.execute(select(table.c.seq)).all()) > count:
                    return
        except OperationalError:  # SQLite is busy
            pass
        time.sleep(0.02)
    raise AssertionError("the processes wrote nothing")


def test_events_that_cannot_be_written_now_are_written_later(lite: World) -> None:
    lite.write("acme", "one")
    lite.restart()
    with lite.engine.connect() as writer:
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        assert lite.read() == ["one"]
        with pytest.raises(KeyUnavailable):
            lite.keyring.audit._write_waiting()
    assert [one.event for one in lite.keyring.audit.entries("acme")] == ["wrap", "unwrap"]
    assert lite.keyring.audit.verify().problems == ()


def test_the_first_event_may_be_written_while_the_trail_is_verified(world: World) -> None:
    other, begun = world.new_keyring(), []

    def write(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT count(*)") and not begun:
            begun.append(statement)
            other.warm(["acme"], new=True)

    event.listen(Engine, "before_cursor_execute", write)
    try:
        problems = world.keyring.audit.verify().problems
    finally:
        event.remove(Engine, "before_cursor_execute", write)
        other.close()
    assert begun and not problems
