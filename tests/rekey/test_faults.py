"""What happens when keys, rows or the server fail in the middle of a run."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Date, Engine, String, event, text

from sqlalchemy_cmk import EncryptedType, KeyRevoked, KeyUnavailable, RunInterrupted, TamperedError
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from sqlalchemy_cmk.rekey import report as reports
from tests.rekey.conftest import TENANTS, add_people, at_write, fill, opening, rotate, sealing, values
from tests.support.world import World


@pytest.fixture
def keyed(world: World) -> World:
    """A world whose tenants have KEKs of their own, proven again after a minute."""
    world.restart(revalidate_after=60, outage_grace=600)
    for tenant in ("acme", "globex"):
        world.keyring.assign(tenant, f"local:{tenant}-kek")
    rotate(world)
    return world


def refuse(world: World, kek: str, error: type[Exception], seconds: float) -> Callable[[], None]:
    """Return what makes a KEK fail from then on, after so many seconds have passed."""

    def fault(kek_uri: str) -> None:
        if kek in kek_uri:
            raise error("the KEK is out of reach")

    def act() -> None:
        world.provider.fault = fault
        world.now += seconds

    return act


def test_a_kek_that_is_revoked_in_the_middle_stops_its_tenant_only(keyed: World) -> None:
    job = Job.of(keyed.notes)
    with at_write(0, refuse(keyed, "acme", KeyRevoked, 61)):  # two batches more may be ready
        report = Rekey(keyed.keyring, chunk=10, rate=None).run(job)
    assert not report.ok and set(report.refused) == {"acme"}
    assert "the KEK is out of reach" in report.refused["acme"]
    assert report.damaged == () and 60 <= report.rows_changed < 120
    assert report.rows_left == 120 - report.rows_changed
    assert keyed.read("globex") == [f"globex {n}" for n in range(60)]

    keyed.provider.fault = lambda kek_uri: None
    keyed.now += 61
    report = Rekey(keyed.keyring, chunk=10, rate=None).run(job)
    assert report.ok, "given back, and run again"


def test_a_job_for_one_tenant_names_its_revoked_kek(keyed: World) -> None:
    job = Job.of(keyed.notes, tenant="acme")
    rekey = Rekey(keyed.keyring, chunk=10, rate=None)
    with at_write(0, refuse(keyed, "acme", KeyRevoked, 61)):  # two batches more may be ready
        report = rekey.run(job)
    assert not report.ok and set(report.refused) == {"acme"}
    with pytest.raises(KeyRevoked):
        rekey.run(job)


def test_a_vault_that_is_down_is_ridden_out(keyed: World) -> None:
    values(keyed, keyed.notes.c.text)
    keyed.keyring.warm(TENANTS, new=True)
    with at_write(3, refuse(keyed, "kek", KeyUnavailable, 61)):
        report = Rekey(keyed.keyring, chunk=10, rate=None).run(Job.of(keyed.notes))
    assert report.ok and report.rows_changed == 120


def test_a_vault_that_is_down_for_too_long_is_named_and_the_job_can_be_run_again(keyed: World) -> None:
    job = Job.of(keyed.notes)
    with at_write(0, refuse(keyed, "kek", KeyUnavailable, 3601)):
        report = Rekey(keyed.keyring, chunk=10, rate=None).run(job)
    assert not report.ok and set(report.refused) == {"acme", "globex"}
    assert report.rows_changed + report.rows_left == 120 and report.rows_left > 0
    keyed.provider.fault = lambda kek_uri: None
    keyed.now += 61
    report = Rekey(keyed.keyring, chunk=10, rate=None).run(job)
    assert report.ok
    assert values(keyed, keyed.notes.c.text)[:60] == [f"acme {n}" for n in range(60)]


def test_a_shredded_tenants_rows_are_no_failure(keyed: World) -> None:
    keyed.keyring.lifecycle.shred("acme", confirm="acme")
    report = Rekey(keyed.keyring, chunk=10, rate=None).run(Job.of(keyed.notes))
    assert report.rows_changed == 60 and report.refused == {}


def spoil(world: World, key: int, how: str) -> None:
    """Damage a stored note."""
    stored = bytes(world.raw(f"SELECT text FROM notes WHERE id = {key}")[0][0])
    other = bytes(world.raw("SELECT text FROM notes WHERE id = 70")[0][0])
    damaged = {
        "altered": stored[:-1] + bytes([stored[-1] ^ 1]),
        "cut short": stored[:12],
        "no DEK of ours": stored[:1] + b"12345678" + stored[9:],
        "of another tenant": other,
        "plain text": b"in the clear",
    }[how]
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE notes SET text = :v WHERE id = :k"), {"v": damaged, "k": key})


REASONS = {
    "altered": "the value was altered, or moved here",
    "cut short": "the stored value is not sealed",
    "no DEK of ours": "there is no DEK",
    "of another tenant": "a row of tenant 'acme' holds a value sealed for 'globex'",
    "plain text": "the stored value is not sealed",
}


def test_damaged_rows_are_listed_and_left_and_stop_nothing(world: World) -> None:
    for number, how in enumerate(REASONS):
        spoil(world, 5 + number, how)
    rotate(world)
    before = world.raw("SELECT id, text FROM notes WHERE id BETWEEN 5 AND 9 ORDER BY id")
    rekey = Rekey(world.keyring, chunk=10, rate=None)
    report = rekey.run(Job.of(world.notes))
    assert (report.ok, report.rows_changed, report.rows_left) == (False, 115, 5)
    found = {one.key: (one.column, one.reason) for one in report.damaged}
    for number, reason in enumerate(REASONS.values()):
        column, told = found[f"[{5 + number}]"]
        assert column == "text" and reason in told and "in the clear" not in told
    assert world.raw("SELECT id, text FROM notes WHERE id BETWEEN 5 AND 9 ORDER BY id") == before
    assert rekey.report(report.run_id).damaged == report.damaged
    assert {one.key for one in rekey.verify(Job.of(world.notes)).damaged} == set(found)


def test_a_list_of_damaged_rows_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.rekey.runs.MAX_DAMAGED", 3)
    rotate(world)
    moved = EncryptedType(String(40), context="elsewhere.text")
    job = Job("notes", (Move("text", "text", moved, moved),), tenant_column="owner")
    report = Rekey(world.keyring, chunk=10, rate=None).run(job)
    assert len(report.damaged) == 3 and report.rows_left == 120 and reports.MAX_DAMAGED == 1000
    assert Rekey(world.keyring).runs()[0].passes == 1, "all rows are accounted for"


@pytest.mark.parametrize("victim", ["writer", "reader"])
def test_a_run_goes_on_when_the_server_ends_its_connection(victim: str, server_world: World) -> None:
    rotate(server_world)
    kill = {
        "postgresql": "SELECT pg_terminate_backend({})",
        "mariadb": "KILL {}",
    }[server_world.engine.dialect.name]

    def own(connection: Any) -> int:
        driver = connection.dialect.get_driver_connection(connection.connection.dbapi_connection)
        if hasattr(driver, "get_server_pid"):  # asyncpg
            return driver.get_server_pid()
        return driver.info.backend_pid if hasattr(driver, "info") else driver.thread_id()

    others: list[int] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT notes.id, notes.owner") and connection.engine.hide_parameters:
            others.append(own(connection))

    def end(connection: Any) -> None:
        number = own(connection) if victim == "writer" else others[-1]
        server_world.execute(kill.format(number))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with at_write(3, end):
            report = Rekey(server_world.keyring, chunk=10, rate=None).run(Job.of(server_world.notes))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert report.ok and report.rows_changed == 120, report
    assert others


def test_values_that_do_not_fit_are_listed_and_not_quoted(
    bare: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    table = add_people(bare, String(12))
    bare.execute("CREATE UNIQUE INDEX uq_again ON people (again)")
    secrets = ["078-05-1120", "a different", "078-05-1120", "much longer than twelve", "the last"]
    fill(bare, table, [{"id": n + 1, "owner": "acme", "sealed": one} for n, one in enumerate(secrets)])
    caplog.clear()
    job = Job("people", (opening("sealed", "again"),), tenant_column="owner")
    report = Rekey(bare.keyring).run(job)
    fits_all = bare.engine.dialect.name == "sqlite"
    found = {one.key: one for one in report.damaged}
    assert set(found) == ({"[3]"} if fits_all else {"[3]", "[4]"})
    assert (report.ok, report.rows_changed, report.rows_left) == (False, 5 - len(found), len(found))
    assert all(one.column == "again" and one.reason.startswith("refused: ") for one in report.damaged)
    # aiosqlite itself logs the parameters of every call at DEBUG.
    logged = [one.getMessage() for one in caplog.records if one.name != "aiosqlite"]
    told = f"{report} {logged} {Rekey(bare.keyring).runs()}"
    assert not any(secret in told for secret in secrets)


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_mariadb_cuts_nothing_off_even_where_its_mode_would(bare: World) -> None:
    table = add_people(bare, String(12))
    fill(bare, table, [{"id": 1, "owner": "acme", "sealed": "much longer than twelve"}])
    mode = bare.raw("SELECT @@GLOBAL.sql_mode")[0][0]
    bare.execute("SET GLOBAL sql_mode = ''")
    try:
        report = Rekey(bare.keyring).run(Job("people", (opening("sealed", "plain"),), tenant_column="owner"))
    finally:
        bare.execute(f"SET GLOBAL sql_mode = '{mode}'")
    assert not report.ok and report.rows_left == 1
    assert bare.raw("SELECT plain FROM people") == [(None,)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_plain_value_that_its_type_cannot_read_is_listed_and_not_quoted(bare: World) -> None:
    add_people(bare, Date(), secret=EncryptedType(Date()))
    for n in range(30):
        value = "'in the clear'" if n == 17 else "'2026-01-02'"
        bare.execute(f"INSERT INTO people (id, owner, plain) VALUES ({n + 1}, 'acme', {value})")
    move = Move("plain", "secret", Date(), EncryptedType(Date(), context=("people", "secret")))
    report = Rekey(bare.keyring, chunk=10, rate=None).run(Job("people", (move,), tenant_column="owner"))
    assert (report.ok, report.rows_changed, report.rows_left) == (False, 29, 1)
    assert [(one.key, one.column) for one in report.damaged] == [("[18]", "plain")]
    assert "in the clear" not in str(report)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_an_error_of_the_database_quotes_no_value(bare: World, caplog: pytest.LogCaptureFixture) -> None:
    """A trigger that complains of a value stands for whatever a database may say."""
    caplog.set_level(logging.DEBUG)
    table = add_people(bare)
    fill(bare, table, [{"id": 1, "owner": "acme", "plain": "078-05-1120"}])
    bare.execute(
        "CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not %', NEW.plain; END $$"
    )
    bare.execute("CREATE TRIGGER t BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION complain()")
    caplog.clear()
    job = Job("people", (sealing("plain", "sealed"),), tenant_column="owner")
    with pytest.raises(RunInterrupted, match=r"stopped: Raise\w+ P0001$") as caught:
        Rekey(bare.keyring).run(job)
    error: BaseException | None = caught.value
    while error is not None:
        assert "078-05" not in str(error) and not isinstance(error, TamperedError)
        error = error.__cause__ or error.__context__
    assert "078-05" not in caplog.text


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_row_that_no_type_reads_is_damaged_in_however_many_columns_of_long_names(bare: World) -> None:
    plain = [f"day_{number}_{'x' * 50}" for number in range(6)]
    sealed = {f"sealed_{number}": EncryptedType(Date) for number in range(6)}
    columns = {**dict.fromkeys(plain, Date()), **sealed}
    table = add_people(bare, **columns)
    fill(bare, table, [{"id": 1, "owner": "acme"}])
    bare.execute("UPDATE people SET " + ", ".join(f"{one} = 'infinity'" for one in plain))
    moves = [Move(one, to, Date(), sealed[to]) for one, to in zip(plain, sealed, strict=True)]
    report = Rekey(bare.keyring, rate=None).run(Job("people", tuple(moves), tenant_column="owner"))
    # asyncpg reads infinity as the last date, and writes that as infinity.
    is_read = bare.keyring.connections.url.drivername.endswith("asyncpg")
    assert [one.column for one in report.damaged] == ([] if is_read else [", ".join(plain)])
