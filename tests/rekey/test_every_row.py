"""What hides rows from the keyring keeps it from destroying DEKs, and from re-keying what it sees."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.rekey import Job, Rekey, drop_retired
from sqlalchemy_cmk.rekey.every_row import refuse_contradicted
from tests.rekey.test_dropping import rotated, state
from tests.support.databases import Database, server_database
from tests.support.own_servers import mariadb_server, standby_of
from tests.support.roles import isolate, owner_of
from tests.support.world import World

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture(params=["postgresql+psycopg", "postgresql+asyncpg"])
def isolated(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[World]:
    """A world whose role owns the tables, and is shown the rows of one tenant at a time."""
    with owner_of(database) as url:
        world = World(url, tmp_path).create()
        world.write("acme", "one", "two")
        for statement in isolate("notes", "owner"):
            world.execute(statement)
        yield world
        world.close()


@pytest.mark.drivers("sync")
@POSTGRESQL
def test_no_dek_is_destroyed_where_a_policy_hides_its_rows(isolated: World) -> None:
    old = rotated(isolated)
    assert isolated.raw("SELECT count(*) FROM notes") == [(0,)]
    with pytest.raises(ConfigurationError, match=r"notes has row level security.*BYPASSRLS"):
        drop_retired(isolated.keyring)
    assert state(isolated, old) is DekState.RETIRED


@pytest.mark.drivers("sync")
@POSTGRESQL
def test_rows_that_a_policy_hides_are_not_taken_for_done(isolated: World) -> None:
    isolated.keyring.lifecycle.rotate_dek("acme")
    engine, job = Rekey(isolated.keyring, rate=None), Job.of(isolated.notes)
    for act in (engine.run, engine.rows_left, engine.verify):
        with pytest.raises(ConfigurationError, match="row level security"):
            act(job)


@pytest.mark.drivers("sync")
@POSTGRESQL
def test_every_transaction_of_the_keyring_fails_rather_than_see_some_rows(isolated: World) -> None:
    connections = isolated.keyring.connections
    for run in (connections.run, connections.use):
        with pytest.raises(Exception, match="row-level security"):
            run(lambda connection: connection.execute(text("SELECT count(*) FROM notes")).scalar_one())


def test_a_view_in_the_place_of_a_table_is_not_counted(world: World) -> None:
    old = rotated(world)
    world.execute("DROP TABLE codes")
    world.execute("CREATE VIEW codes AS SELECT id, owner, text FROM notes WHERE id < 0")
    with pytest.raises(ConfigurationError, match="codes is a view"):
        drop_retired(world.keyring)
    assert state(world, old) is DekState.RETIRED


def test_of_a_view_that_is_named_only_the_table_behind_it_counts(world: World) -> None:
    world.execute("ALTER TABLE notes RENAME TO all_notes")
    world.execute("CREATE VIEW notes AS SELECT id, owner, text FROM all_notes WHERE id < 0")
    old = rotated(world)
    with pytest.raises(ConfigurationError, match="notes is a view"):
        drop_retired(world.keyring, "acme")
    assert "all_notes.text" in drop_retired(world.keyring, "acme", ignoring=["notes"]).kept[old]
    world.execute("DELETE FROM all_notes")
    assert drop_retired(world.keyring, "acme", ignoring=["notes"]).dropped == (old,)


@POSTGRESQL
def test_a_standby_is_not_asked_what_may_be_destroyed(world: World) -> None:
    old = rotated(world)
    world.execute("DELETE FROM notes")
    with standby_of(world.url) as url:
        behind = World(url, world.folder)
        with pytest.raises(ConfigurationError, match=r"is read from a standby.*connect to the primary"):
            Rekey(behind.keyring).rows_left(Job.of(behind.notes))
        with pytest.raises(ConfigurationError, match=r"is read from a standby.*connect to the primary"):
            drop_retired(behind.keyring)
        behind.close()
    assert state(world, old) is DekState.RETIRED


def test_a_server_that_is_read_only_is_not_asked_either(tmp_path: Path) -> None:
    with mariadb_server() as server, server_database("mariadb", server.url) as database:
        world = World(database.url, tmp_path).create()
        old = rotated(world)
        world.execute("DELETE FROM notes")
        world.execute("SET GLOBAL read_only = 1")
        with pytest.raises(ConfigurationError, match="is read from a server that is read_only"):
            Rekey(world.keyring).rows_left(Job.of(world.notes))
        with pytest.raises(ConfigurationError, match="is read from a server that is read_only"):
            drop_retired(world.keyring)
        assert state(world, old) is DekState.RETIRED
        world.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_count_that_statistics_contradict_is_refused(world: World) -> None:
    run = world.keyring.connections.run
    run(lambda connection: connection.execute(text("ANALYZE notes")))
    with pytest.raises(ConfigurationError, match=r"notes: 40 rows were seen, and .* statistics say 120"):
        refuse_contradicted(run, world.notes, 40)
    refuse_contradicted(run, world.notes, 60)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_statistics_that_are_out_of_date_are_made_anew(world: World) -> None:
    world.execute("ANALYZE notes")
    world.execute("DELETE FROM notes")
    refuse_contradicted(world.keyring.connections.run, world.notes, 0)
