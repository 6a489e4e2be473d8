"""A trail under a record key, and people who can write to the database and do not have that key."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update

from sqlalchemy_cmk import ConfigurationError, TamperedError
from sqlalchemy_cmk.keys.audit.chain import BEGINNING, AuditEntry, AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from tests.support.trails import authenticate, record_keys
from tests.support.world import World


@pytest.fixture
def filled(world: World) -> World:
    """A trail of four rows under a record key."""
    return fill(world)


@pytest.fixture
def small(lite: World) -> World:
    """The same on SQLite, for what does not differ between databases."""
    return fill(lite)


def fill(world: World) -> World:
    for number in range(3):
        world.keyring.warm([f"tenant {number}"], new=True)
    world.keyring.assign("tenant 1", "local:own")
    return world


def restart(world: World) -> World:
    """Go on as a process that has seen nothing of the trail."""
    world.restart()
    return world


def problems(world: World) -> tuple[str, ...]:
    return world.keyring.audit.verify().problems


class Attacker:
    """Somebody who reads and writes every table, and knows how rows are chained."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.trail = world.metadata.tables["cmk_audit"]
        self.head = world.metadata.tables["cmk_audit_head"]

    def rows(self) -> list[AuditEntry]:
        with self.world.engine.connect() as connection:
            found = connection.execute(select(self.trail).order_by(self.trail.c.seq)).all()
        return [AuditEntry(*row) for row in found]

    def put(self, rows: list[AuditEntry], **head: object) -> None:
        """Put these rows in the place of all, chained again, with a head that fits unless it is given."""
        previous, chained = BEGINNING, []
        for seq, row in enumerate(rows, 1):
            one = replace(row, seq=seq, previous=previous)
            previous = one.computed_hash()
            chained.append(asdict(replace(one, hash=previous)))
        self.write(chained, {"seq": len(rows), "hash": previous, **head})

    def write(self, rows: list[dict[str, object]], head: dict[str, object]) -> None:
        with self.world.engine.begin() as connection:
            connection.execute(delete(self.trail))
            connection.execute(insert(self.trail), rows)
            connection.execute(update(self.head).values(**head))

    def stored(self) -> tuple[list[dict[str, object]], dict[str, object]]:
        with self.world.engine.connect() as connection:
            head = dict(connection.execute(select(self.head)).mappings().one())
            return [asdict(row) for row in self.rows()], head


def test_rows_and_head_have_a_mac_and_the_trail_verifies(filled: World) -> None:
    key = record_keys(filled.folder).current()
    entries = filled.keyring.audit.entries()
    assert {one.key_id for one in entries} == {key.id} and len({one.mac for one in entries}) == 4
    verdict = filled.keyring.audit.verify()
    assert verdict.authenticated and verdict.problems == () and verdict.rows == 4
    assert problems(restart(filled)) == ()


def append_forged(attacker: Attacker) -> None:
    rows = attacker.rows()
    attacker.put([*rows, replace(rows[0], tenant="tenant 2", event="shred")])


def append_with_a_mac_that_was_used(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    last = attacker.rows()[-1]
    forged = replace(last, seq=5, previous=last.hash)
    forged = replace(forged, hash=forged.computed_hash())
    attacker.write([*rows, asdict(forged)], {**head, "seq": 5, "hash": forged.hash})


def append_past_the_head(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    attacker.write([*rows, {**rows[-1], "seq": 5}], head)


def append_where_no_number_is_left(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    attacker.write([*rows, {**rows[-1], "seq": 2**63 - 1}], head)


def insert_before_the_first(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    attacker.write([{**rows[0], "seq": -7}, *rows], head)


def cut_the_tail(attacker: Attacker) -> None:
    attacker.put(attacker.rows()[:3])


def cut_the_tail_only(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    attacker.write(rows[:3], head)


def cut_and_use_the_row_s_mac_for_the_head(attacker: Attacker) -> None:
    third = attacker.rows()[2]
    attacker.put(attacker.rows()[:3], key_id=third.key_id, mac=third.mac)


def rewrite_everything(attacker: Attacker) -> None:
    attacker.put([replace(row, actor="nobody") for row in attacker.rows()])


def rewrite_everything_without_macs(attacker: Attacker) -> None:
    attacker.put([replace(row, key_id="", mac="") for row in attacker.rows()], key_id="", mac="")


def rewrite_everything_under_a_key_of_their_own(attacker: Attacker) -> None:
    key = record_keys(attacker.world.folder, "theirs.key").current()
    forged = [replace(row, actor="nobody", key_id=key.id, mac="00" * 32) for row in attacker.rows()]
    attacker.put(forged, key_id=key.id, mac="00" * 32)


def take_one_mac_off(attacker: Attacker) -> None:
    attacker.world.execute("UPDATE cmk_audit SET mac = '', key_id = '' WHERE seq = 2")


def take_the_head_s_mac_off(attacker: Attacker) -> None:
    attacker.world.execute("UPDATE cmk_audit_head SET mac = '', key_id = ''")


def exchange_rows(attacker: Attacker) -> None:
    rows = attacker.rows()
    attacker.put([rows[0], rows[2], rows[1], rows[3]])


def exchange_macs(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    rows[1]["mac"], rows[2]["mac"] = rows[2]["mac"], rows[1]["mac"]
    attacker.write(rows, head)


def change_a_row_and_its_hash(attacker: Attacker) -> None:
    rows, head = attacker.stored()
    forged = replace(attacker.rows()[3], actor="nobody")
    rows[3] = asdict(replace(forged, hash=forged.computed_hash()))
    attacker.write(rows, {**head, "hash": rows[3]["hash"]})


def delete_the_head(attacker: Attacker) -> None:
    attacker.world.execute("DELETE FROM cmk_audit_head")


def delete_everything(attacker: Attacker) -> None:
    attacker.world.execute("DELETE FROM cmk_audit_head")
    attacker.world.execute("DELETE FROM cmk_audit")


def nonsense_for_a_mac(attacker: Attacker) -> None:
    attacker.world.execute("UPDATE cmk_audit SET mac = 'no hexadecimal' WHERE seq = 4")


ATTACKS = [
    append_forged,
    append_with_a_mac_that_was_used,
    append_past_the_head,
    append_where_no_number_is_left,
    insert_before_the_first,
    cut_the_tail,
    cut_the_tail_only,
    cut_and_use_the_row_s_mac_for_the_head,
    rewrite_everything,
    rewrite_everything_without_macs,
    rewrite_everything_under_a_key_of_their_own,
    take_one_mac_off,
    take_the_head_s_mac_off,
    exchange_rows,
    exchange_macs,
    change_a_row_and_its_hash,
    delete_the_head,
    delete_everything,
    nonsense_for_a_mac,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.__name__)
def test_an_attack_is_found_by_a_new_process_and_stays_visible(
    filled: World, attack: Callable[[Attacker], None]
) -> None:
    attack(Attacker(filled))
    restart(filled)
    assert problems(filled)
    filled.keyring.warm(["later"], new=True)
    assert problems(filled), "the next row must not vouch for what was forged"
    assert "later" in {one.tenant for one in filled.keyring.audit.entries()}


AT_THE_END = set(ATTACKS) - {
    append_where_no_number_is_left,
    insert_before_the_first,
    take_one_mac_off,
    exchange_macs,
    nonsense_for_a_mac,
    delete_everything,
}


@pytest.mark.parametrize("attack", sorted(AT_THE_END, key=str), ids=lambda one: one.__name__)
def test_rows_are_appended_to_a_forged_end_after_one_that_says_so(
    small: World, attack: Callable[[Attacker], None]
) -> None:
    attack(Attacker(small))
    restart(small)
    small.keyring.warm(["later"], new=True)
    broken, later = small.keyring.audit.entries(last=2)
    assert (broken.event, later.event, later.tenant) == ("trail_broken", "wrap", "later")
    assert broken.detail and broken.mac and later.mac


def test_an_old_trail_with_its_head_is_found_by_a_process_that_has_seen_more(small: World) -> None:
    attacker = Attacker(small)
    old = attacker.stored()
    small.keyring.warm(["later"], new=True)
    attacker.write(*old)
    cut, lost = problems(small)
    assert "cut back" in cut and "row 5" in cut and "'later'" in lost
    with pytest.raises(TamperedError, match="cut back"):
        small.keyring.audit.heads()
    small.keyring.warm(["even later"], new=True)
    small.keyring.warm(["latest"], new=True)
    assert [one.event for one in small.keyring.audit.entries(last=3)] == ["trail_broken", "wrap", "wrap"]
    small.keyring.audit.adopt("a backup was restored")
    assert problems(small) == ("rows were removed: the trail holds nothing about tenant 'later'",)


def test_a_process_remembers_what_it_has_verified(small: World) -> None:
    attacker = Attacker(small)
    old = attacker.stored()
    small.keyring.audit.now(AuditEvent(EventKind.REENCRYPT, "tenant 1"))
    restart(small)
    assert problems(small) == ()
    attacker.write(*old)
    assert any("cut back" in one for one in problems(small))


def test_what_was_rolled_back_was_not_seen(small: World) -> None:
    event = AuditEvent(EventKind.ASSIGN, "tenant 1")

    def fail(connection: object) -> None:
        small.keyring.audit.append(connection, [event])  # type: ignore[arg-type]
        raise ConfigurationError("the change cannot be made")

    with pytest.raises(ConfigurationError):
        small.keyring.database.run(fail)
    assert problems(small) == ()


def test_a_trail_under_another_key_is_refused(small: World) -> None:
    authenticate(small.keyring, record_keys(small.folder, "another.key"))
    found = problems(small)
    assert any("rows 1 to 4" in one for one in found)
    assert any("head" in one for one in found)


def test_rows_under_a_key_that_is_gone_hold_by_the_rows_after_them(small: World) -> None:
    keys = record_keys(small.folder)
    keys.rotate()
    small.keyring.audit.now(AuditEvent(EventKind.RECORD_KEY, ""))
    assert problems(small) == ()
    keys.drop_old()
    restart(small)
    assert problems(small) == ()
    small.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq = 2")
    assert problems(small) == ("row 2 was changed",)


def test_rotating_the_record_key_authenticates_the_end_of_the_trail_by_it(small: World) -> None:
    before = small.keyring.audit.heads().key_id
    small.keyring.record_key.rotate()
    assert small.keyring.audit.heads().key_id != before
    assert problems(restart(small)) == ()
    small.keyring.warm(["later"], new=True)
    assert problems(small) == ()


def test_adopting_the_key_tables_adopts_the_trail(small: World) -> None:
    authenticate(small.keyring, None)
    small.keyring.warm(["without"], new=True)
    restart(small)
    assert problems(small)
    small.keyring.record_key.adopt()
    assert problems(small) == ()


def test_an_end_under_a_key_that_is_gone_is_a_problem(small: World) -> None:
    keys = record_keys(small.folder)
    keys.rotate()
    keys.drop_old()
    restart(small)
    assert any("no later row vouches" in one for one in problems(small))
    small.keyring.warm(["later"], new=True)
    assert "trail_broken" in {one.event for one in small.keyring.audit.entries()}


def test_a_trail_that_began_without_a_record_key_is_adopted_once(world: World) -> None:
    authenticate(world.keyring, None)
    world.keyring.warm(["first"], new=True)
    assert not world.keyring.audit.verify().authenticated
    with pytest.raises(ConfigurationError, match="record_key="):
        world.keyring.audit.adopt("there is none")
    restart(world)
    assert any("not authenticated" in one for one in problems(world))
    world.keyring.audit.adopt("the record key is new")
    assert problems(world) == ()
    world.keyring.warm(["second"], new=True)
    assert problems(world) == ()
    assert [one.event for one in world.keyring.audit.entries()] == ["wrap", "trail_adopted", "wrap"]


def test_a_process_without_the_record_key_cannot_write_the_trail_unseen(small: World) -> None:
    authenticate(restart(small).keyring, None)
    small.keyring.warm(["without"], new=True)
    restart(small)
    assert any("head" in one for one in problems(small))
    small.keyring.warm(["with"], new=True)
    found = problems(small)
    assert any("row 5 is not authenticated" in one for one in found)
    assert any("row 6 notes" in one for one in found)
    small.keyring.audit.adopt("a worker was misconfigured")
    assert problems(small) == ()


def test_adopting_does_not_forgive_rows_that_were_changed(small: World) -> None:
    small.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq = 2")
    small.keyring.audit.adopt("looked into")
    assert problems(small) == ("row 2 was changed",)


def test_nobody_adopts_without_the_record_key(small: World) -> None:
    attacker = Attacker(small)
    rows = [replace(row, key_id="", mac="") for row in attacker.rows()]
    attacker.put([*rows, replace(rows[-1], event="trail_adopted")], key_id="", mac="")
    restart(small)
    assert any("not authenticated" in one for one in problems(small))


def test_many_flawed_rows_are_one_sentence(small: World) -> None:
    for number in range(60):
        small.keyring.audit.now(AuditEvent(EventKind.REENCRYPT, "tenant 0", detail=str(number)))
    small.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq BETWEEN 10 AND 30")
    assert problems(small) == ("rows 10 to 30 were changed",)
    small.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq > 1")
    assert problems(small) == ("rows 2 to 64 were changed",)


@pytest.mark.parametrize("nonsense", ["x'ff'", "'text'", "1.5", "9223372036854775807"])
@pytest.mark.parametrize("column", ["tenant", "hash", "mac", "key_id", "previous", "seq", "at"])
def test_values_of_the_wrong_kind_are_found(small: World, column: str, nonsense: str) -> None:
    small.execute(f"UPDATE cmk_audit SET {column} = {nonsense} WHERE seq = 2")
    assert found_or_refused(small)
    small.keyring.warm(["later"], new=True)
    assert found_or_refused(small)


@pytest.mark.parametrize("nonsense", ["x'ff'", "'text'", "1.5", "-1", "9223372036854775806"])
@pytest.mark.parametrize("column", ["hash", "mac", "key_id", "seq"])
def test_values_of_the_wrong_kind_in_the_head_are_found(small: World, column: str, nonsense: str) -> None:
    small.execute(f"UPDATE cmk_audit_head SET {column} = {nonsense}")
    assert found_or_refused(small)
    with pytest.raises(TamperedError):
        small.keyring.audit.heads()
    small.keyring.warm(["later"], new=True)
    assert found_or_refused(small)


@pytest.mark.parametrize("table", ["cmk_audit", "cmk_audit_head"])
def test_no_cell_can_be_changed_unseen(small: World, table: str) -> None:
    attacker = Attacker(small)
    rows, head = attacker.stored()
    victim = head["hash"] if table == "cmk_audit_head" else rows[2]["hash"]
    columns = [one.name for one in small.metadata.tables[table].columns if one.name != "id"]
    for column in columns:
        for change in (f"{column} || '0'", f"{column} || ' '", "''", f"upper({column}) || lower({column})"):
            small.execute(f"UPDATE {table} SET {column} = {change} WHERE hash = '{victim}'")
            changed = attacker.stored() != (rows, head)
            assert not changed or found_or_refused(restart(small)), (column, change)
            attacker.write(rows, head)
    assert problems(restart(small)) == ()


def found_or_refused(world: World) -> bool:
    try:
        return bool(problems(world))
    except TamperedError:
        return True


def keys_of(world: World) -> dict[str, list[dict[str, object]]]:
    tables = (world.metadata.tables[f"cmk_{name}"] for name in ("tenants", "deks", "wrappings"))
    with world.engine.connect() as connection:
        return {one.name: [dict(row) for row in connection.execute(select(one)).mappings()] for one in tables}


def put_back(world: World, rows: dict[str, list[dict[str, object]]]) -> None:
    with world.engine.begin() as connection:
        for name in reversed(rows):
            connection.execute(delete(world.metadata.tables[name]))
        for name, those in rows.items():
            connection.execute(insert(world.metadata.tables[name]), those)


@pytest.mark.parametrize("changes", [1, 3])
def test_keys_that_are_put_back_are_older_than_the_trail_says(filled: World, changes: int) -> None:
    old = keys_of(filled)
    for number in range(changes):
        filled.keyring.assign("tenant 1", f"local:newer-{number}")
    assert problems(restart(filled)) == ()
    put_back(filled, old)
    (problem,) = problems(restart(filled))
    assert "older than the trail says" in problem and problem.endswith("tenant 'tenant 1'")


@pytest.mark.parametrize("changes", [1, 3])
def test_so_are_keys_that_have_changed_since_they_were_put_back(filled: World, changes: int) -> None:
    old = keys_of(filled)
    for number in range(changes):
        filled.keyring.assign("tenant 1", f"local:newer-{number}")
    put_back(filled, old)
    restart(filled)
    filled.keyring.audit.now(AuditEvent(EventKind.REENCRYPT, "tenant 1"))
    filled.keyring.lifecycle.rotate_dek("tenant 1")
    (problem,) = problems(restart(filled))
    assert "that had been put back to an older state" in problem
    filled.keyring.audit.adopt("restored on purpose")
    assert problems(restart(filled)) == ()


def test_a_change_of_several_rows_is_one_change(filled: World) -> None:
    filled.keyring.assign("tenant 1", "local:fresh", fresh_dek=True)
    filled.keyring.lifecycle.shred("tenant 2", confirm="tenant 2")
    filled.keyring.record_key.rotate()
    entries = filled.keyring.audit.entries("tenant 1")
    assert [one.epoch for one in entries if one.epoch] == sorted(one.epoch for one in entries if one.epoch)
    assert problems(restart(filled)) == ()


def test_the_documented_hash_is_computed_by_hand(small: World) -> None:
    entry = small.keyring.audit.entries()[1]
    fields = list(asdict(entry).values())[:13]
    assert hashlib.sha256(msgspec.msgpack.encode(fields)).hexdigest() == entry.hash
