"""A writer beside a run wins, and of two that run the same job one gives way."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Float, String, event, text
from sqlalchemy.exc import OperationalError

from sqlalchemy_cmk import EncryptedType, RunInterrupted, tenant_scope
from sqlalchemy_cmk.databases import Database
from sqlalchemy_cmk.rekey import Job, Move, Rekey, RunState, worker
from tests.keys.processes import apart
from tests.rekey.conftest import add_people, at_write, fill, opening, rotate, sealing, values
from tests.support.world import World

ANY_CASE = String(40).with_variant(String(40, collation="utf8mb4_general_ci"), "mysql", "mariadb")
ANY_CASE = ANY_CASE.with_variant(String(40, collation="NOCASE"), "sqlite")
NUMBER = Float(53).with_variant(Float(), "sqlite")


def write(world: World, table: Any, key: int, **changes: Any) -> None:
    """Write a row as the application does."""
    with world.engine.begin() as connection, tenant_scope("acme"):
        connection.execute(table.update().where(table.c.id == key).values(**changes))


def stored(world: World, sql: str) -> list[bytes]:
    return [bytes(row[0]) for row in world.raw(sql)]


def test_a_write_between_reading_and_writing_wins_over_re_encryption(world: World) -> None:
    rotate(world)
    with at_write(2, lambda: write(world, world.notes, 25, text="newer")) as batches:
        report = Rekey(world.keyring, chunk=10, rate=None).run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 119 and len(batches) == 12, report
    assert values(world, world.notes.c.text)[24] == "newer"


def test_a_row_that_is_deleted_or_emptied_meanwhile_stays_so(world: World) -> None:
    rotate(world)

    def change() -> None:
        world.execute("DELETE FROM notes WHERE id = 25")
        write(world, world.notes, 26, text=None)

    with at_write(2, change):
        report = Rekey(world.keyring, chunk=10, rate=None).run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 118, report
    texts = values(world, world.notes.c.text)
    assert len(texts) == 119 and texts[24] is None


def test_a_write_wins_over_the_sealing_of_a_plain_column(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [{"id": n + 1, "owner": "acme", "plain": f"s{n}"} for n in range(20)])

    def change() -> None:
        write(bare, table, 8, plain="newer")
        write(bare, table, 9, sealed="sealed by the application")
        write(bare, table, 10, plain=None)

    with at_write(1, change):
        report = Rekey(bare.keyring, chunk=5, rate=None).run(
            Job("people", (sealing("plain", "sealed"),), tenant_column="owner")
        )
    assert report.ok, report
    assert values(bare, table.c.sealed)[7:10] == ["newer", "sealed by the application", None]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (ANY_CASE, "Anna", "ANNA"),
        (ANY_CASE, "Anna", "Anna "),
        (NUMBER, 0.1 + 0.2, 0.3),
        (NUMBER, 1e300, 1.0000000000000002e300),
    ],
)
def test_the_least_change_of_a_plain_value_is_a_change(
    kind: Any, before: Any, after: Any, bare: World
) -> None:
    table = add_people(bare, kind, secret=EncryptedType(kind))
    fill(bare, table, [{"id": 1, "owner": "acme", "plain": before}])
    move = Move("plain", "secret", kind, EncryptedType(kind, context=("people", "secret")))
    with at_write(0, lambda: write(bare, table, 1, plain=after)):
        report = Rekey(bare.keyring).run(Job("people", (move,), tenant_column="owner"))
    assert report.ok, report
    assert values(bare, table.c.secret) == values(bare, table.c.plain) == [after]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_collation_of_postgresql_that_knows_no_case_hides_no_change(bare: World) -> None:
    bare.execute(
        "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    table = add_people(bare, String(40, collation="any_case"))
    fill(bare, table, [{"id": 1, "owner": "acme", "plain": "Anna"}])
    with at_write(0, lambda: write(bare, table, 1, plain="ANNA")):
        job = Job("people", (sealing("plain", "sealed"),), tenant_column="owner")
        assert Rekey(bare.keyring).run(job).ok
    assert values(bare, table.c.sealed) == ["ANNA"]


def test_a_row_that_goes_to_another_tenant_meanwhile_is_sealed_for_that_one(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [{"id": n + 1, "owner": "acme", "plain": f"s{n}"} for n in range(9)])
    with at_write(0, lambda: bare.execute("UPDATE people SET owner = 'globex' WHERE id = 5")):
        job = Job("people", (sealing("plain", "sealed"),), tenant_column="owner")
        report = Rekey(bare.keyring).run(job)
    assert report.ok, report
    assert values(bare, table.c.sealed) == [f"s{n}" for n in range(9)], "each opens for its row's tenant"


def test_a_write_wins_over_opening_for_good(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [{"id": n + 1, "owner": "acme", "sealed": f"s{n}"} for n in range(20)])
    with at_write(1, lambda: write(bare, table, 8, sealed="newer")):
        job = Job("people", (opening("sealed", "plain"),), tenant_column="owner")
        report = Rekey(bare.keyring, chunk=5, rate=None).run(job)
    assert report.ok, report
    assert values(bare, table.c.plain)[6:9] == ["s6", "newer", "s8"]


def test_a_write_wins_over_a_move_between_sealed_columns(bare: World) -> None:
    table = add_people(bare)
    fill(bare, table, [{"id": n + 1, "owner": "acme", "sealed": f"s{n}"} for n in range(20)])
    move = Move(
        "sealed", "other", *(EncryptedType(String(40), context=("people", c)) for c in ("sealed", "other"))
    )
    with at_write(1, lambda: write(bare, table, 8, sealed="newer")):
        report = Rekey(bare.keyring, chunk=5, rate=None).run(Job("people", (move,), tenant_column="owner"))
    assert report.ok, report
    assert values(bare, table.c.other)[6:9] == ["s6", "newer", "s8"]


def test_the_second_of_two_that_run_a_job_takes_over_and_no_row_is_sealed_twice(world: World) -> None:
    rotate(world)
    job = Job.of(world.notes)
    first: list[bytes] = []
    second: list[Any] = []
    query = "SELECT text FROM notes WHERE id <= 50 ORDER BY id"

    def take_over() -> None:
        first.extend(stored(world, query))
        second.append(Rekey(world.keyring, chunk=10, rate=None).run(job))

    with at_write(5, take_over), pytest.raises(RunInterrupted, match="was taken over by another process"):
        Rekey(world.keyring, chunk=10, rate=None).run(job)
    assert second[0].ok and second[0].rows_changed == 120, "what the first did before is counted, too"
    assert stored(world, query) == first, "and was left alone"
    assert [run.state for run in Rekey(world.keyring).runs()] == [RunState.DONE]
    assert Rekey(world.keyring).verify(job).ok


def test_two_that_begin_at_the_same_moment_share_one_run(world: World) -> None:
    rotate(world)
    job = Job.of(world.notes)
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(Rekey(world.keyring, chunk=10, rate=None).run(job))
        except RunInterrupted as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(getattr(one, "ok", False) for one in outcomes), outcomes
    assert sum(run.state is not RunState.DONE for run in Rekey(world.keyring).runs()) == 0
    # One after the other is possible too; then the later finds nothing to do.
    assert sum(getattr(one, "rows_changed", 0) > 0 for one in outcomes) >= 1
    assert Rekey(world.keyring).rows_left(job) == 0


def locker(world: World, release: Callable[[], bool]) -> Callable[[], None]:
    """Return what locks the row 25 in a transaction of its own until it may let go."""

    def hold() -> None:
        began = threading.Event()

        def work() -> None:
            with world.engine.connect() as connection:
                if world.engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.execute(text("UPDATE notes SET owner = 'acme' WHERE id = 25"))
                began.set()
                while not release():
                    time.sleep(0.02)
                connection.commit()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert began.wait(120)

    return hold


def rows_of(parameters: Any) -> int:
    """How many rows a batch's parameters are for."""
    if isinstance(parameters, dict):
        keys = parameters["cmk_k0"]
        return len(getattr(keys, "elements", keys))
    first = parameters[0]
    if isinstance(parameters, tuple) and isinstance(first, list):
        return len(first)  # asyncpg's arrays
    return len(parameters) if isinstance(first, tuple | dict | list) else len(parameters) // 3


def test_a_row_that_others_hold_makes_batches_smaller_and_is_written_when_it_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(world)
    monkeypatch.setattr(Database, "lock_seconds", 1)
    monkeypatch.setattr(worker, "MIN_ROWS", 5)
    seen: list[list[Any]] = []
    with at_write(0, locker(world, lambda: len(seen[0]) >= 3)) as batches:
        seen.append(batches)
        report = Rekey(world.keyring, chunk=40, rate=None).run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 120, report
    assert [rows_of(one) for one in batches][:2] == [40, 20]


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_row_that_is_held_for_too_long_waits_for_the_next_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(world)
    monkeypatch.setattr(Database, "lock_seconds", 1)
    monkeypatch.setattr(worker, "MAX_ATTEMPTS", 1)
    seen: list[list[Any]] = []
    with at_write(0, locker(world, lambda: len(seen[0]) >= 12)) as batches:
        seen.append(batches)
        report = Rekey(world.keyring, chunk=10, rate=None).run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 120, report
    assert Rekey(world.keyring).runs()[0].passes == 2


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_reading_waits_as_long_as_it_has_to(
    world: World, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(world)
    monkeypatch.setattr(Database, "lock_seconds", 1)
    monkeypatch.setattr(Database, "statement_seconds", 1)
    held: list[float] = []

    def hold(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if held or not statement.startswith("SELECT notes.id, notes.owner"):
            return
        other = world.engine.connect()
        other.execute(text("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE"))
        held.append(time.monotonic())
        threading.Timer(2.5, other.close).start()

    event.listen(Engine, "before_cursor_execute", hold)
    try:
        report = Rekey(world.keyring, chunk=40, rate=None, workers=workers).run(Job.of(world.notes))
    finally:
        event.remove(Engine, "before_cursor_execute", hold)
    assert report.ok and time.monotonic() - held[0] >= 2.5


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
    "ON id = trx_mysql_thread_id WHERE db = database() AND trx_state = 'LOCK WAIT'",
}


def wait_for_a_lock(world: World, over: threading.Event) -> None:
    """Return when a transaction in the world's database waits for another's lock, or when all is over."""
    while not world.raw(WAITING[world.engine.dialect.name])[0][0]:
        if over.wait(0.15):  # InnoDB's list is made again where nobody has read it for a tenth of a second
            return


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_the_victim_of_a_deadlock_tries_again(world: World) -> None:
    rotate(world)
    world.execute("CREATE TABLE heavy (n INTEGER)")
    failures: list[Exception] = []
    threads: list[threading.Thread] = []
    over = threading.Event()

    def collide() -> None:
        connection = world.engine.connect()
        if world.engine.dialect.name == "postgresql":
            connection.execute(text("SET deadlock_timeout = '60s'"))
        else:  # InnoDB picks the one that has changed fewer rows
            connection.execute(text("INSERT INTO heavy SELECT seq FROM seq_1_to_2000"))
        connection.execute(text("UPDATE notes SET owner = 'acme' WHERE id = 30"))

        def work() -> None:
            wait_for_a_lock(world, over)  # the engine holds the first rows, and waits for the thirtieth
            try:
                connection.execute(text("UPDATE notes SET owner = 'acme' WHERE id = 1"))
                connection.commit()
            except OperationalError as error:
                failures.append(error)
            connection.close()

        threads.append(threading.Thread(target=work))
        threads[0].start()

    try:
        with at_write(0, collide) as batches:
            report = Rekey(world.keyring, chunk=40, rate=None).run(Job.of(world.notes))
    finally:
        over.set()
    threads[0].join()
    assert failures == [], "the application's transaction was not the victim"
    assert report.ok and report.rows_changed == 120 and len(batches) > 3, report


def pause_elsewhere(url: str, folder: Path) -> str:
    """What another process does to pause the run."""
    world = World(url, folder)
    rekey = Rekey(world.keyring)
    run = rekey.runs()[-1]
    assert rekey.pause(run.id) and not rekey.pause(run.id)
    world.close()
    return run.id


def resume_elsewhere(url: str, folder: Path, run_id: str) -> bool:
    world = World(url, folder)
    resumed = Rekey(world.keyring).resume(run_id)
    world.close()
    return resumed


def test_another_process_pauses_a_run_and_lets_it_go_on(world: World) -> None:
    rotate(world)
    job = Job.of(world.notes)
    reports: list[Any] = []
    paused: list[str] = []

    def pause() -> None:
        paused.append(apart(pause_elsewhere, world.url, world.folder))

    with at_write(3, pause) as batches:
        thread = threading.Thread(
            target=lambda: reports.append(Rekey(world.keyring, chunk=10, rate=None).run(job))
        )
        thread.start()
        while not paused:
            time.sleep(0.05)
        time.sleep(0.5)
        assert Rekey(world.keyring).report(paused[0]).rows_changed == 30, "the batch at hand was rolled back"
        assert thread.is_alive() and len(batches) == 4
        assert apart(resume_elsewhere, world.url, world.folder, paused[0])
        thread.join()
    assert reports[0].ok and reports[0].rows_changed == 120


def test_a_paused_run_whose_process_is_gone_goes_on_when_the_job_is_run_again(world: World) -> None:
    rotate(world)
    rekey = Rekey(world.keyring, chunk=10, rate=None)
    job = Job.of(world.notes)

    class Gone(Exception):
        pass

    def die() -> None:
        raise Gone

    with at_write(3, die), pytest.raises(Gone):
        rekey.run(job)
    run = rekey.runs()[0]
    assert rekey.pause(run.id) and rekey.runs()[0].state is RunState.PAUSED
    report = rekey.run(job)
    assert report.ok and (report.run_id, report.rows_changed, report.rows_read) == (run.id, 120, 120)


def test_the_scope_of_the_caller_does_not_matter(world: World) -> None:
    rotate(world)
    with tenant_scope("globex"):
        report = Rekey(world.keyring, chunk=10, rate=None).run(Job.of(world.notes))
        assert report.ok and report.rows_changed == 120
        assert Rekey(world.keyring).verify(Job.of(world.notes)).rows_read == 120


def test_no_thread_and_no_connection_is_left(world: World) -> None:
    rotate(world)
    world.keyring.close()
    before = set(threading.enumerate())
    Rekey(world.keyring, chunk=10, rate=None, workers=3).run(Job.of(world.notes))
    world.keyring.close()
    world.engine.dispose()
    for _ in range(600):
        if not (alive := set(threading.enumerate()) - before):
            break
        time.sleep(0.1)
    assert not alive
    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
    }.get(world.engine.dialect.name)
    if query:
        for _ in range(600):
            if (left := world.raw(query)) == [(1,)]:
                break
            time.sleep(0.1)
        assert left == [(1,)]
