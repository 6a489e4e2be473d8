"""Processes for the kill tests: one that re-encrypts and is killed, and writers that note what they wrote."""

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk import tenant_scope
from sqlalchemy_cmk.rekey import Job, Rekey
from tests.support.world import World

WRITERS = 4
TENANTS = ("acme", "globex")

# Every change of a value's DEK, by whom: a row that a run changes twice is seen here.
LOG = {
    "postgresql": [
        "CREATE TABLE log (id INTEGER, by_whom BIGINT, old BYTEA, new BYTEA)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO log VALUES (NEW.id, pg_backend_pid(), substr(OLD.text, 1, 9), substr(NEW.text, 1, 9)); "
        "RETURN NEW; END $$",
        "CREATE TRIGGER noted BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION note()",
    ],
    "mariadb": [
        "CREATE TABLE log (id INTEGER, by_whom BIGINT, old VARBINARY(9), new VARBINARY(9))",
        "CREATE TRIGGER noted BEFORE UPDATE ON notes FOR EACH ROW INSERT INTO log VALUES "
        "(NEW.id, CONNECTION_ID(), substr(OLD.text, 1, 9), substr(NEW.text, 1, 9))",
    ],
}
OWN_NUMBER = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}


@dataclass
class Written:
    """What a writer has committed, under which connection, and how often it failed."""

    connection: int
    last: dict[int, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def write_on(url: str, folder: Path, number: int, rows: int, stop: Any, said: Any) -> None:
    """Write to the rows of this writer until told to stop, and say what was written."""
    world = World(url, folder, revalidate_after=0)
    with world.engine.connect() as connection:
        own = int(connection.scalar(text(OWN_NUMBER[world.engine.dialect.name])) or 0)
        connection.commit()
        written, count = Written(own), 0
        while not stop.is_set():
            key, count = random.randrange(number, rows, WRITERS) + 1, count + 1
            change = world.notes.update().where(world.notes.c.id == key)
            try:
                with connection.begin(), tenant_scope(TENANTS[key % 2]):
                    connection.execute(change.values(text=f"{number}: {count}"))
                written.last[key] = f"{number}: {count}"
            except DBAPIError as error:
                written.failures.append(str(error.orig))
            time.sleep(random.uniform(0.01, 0.05))
    said.put(written)
    world.close()


def re_encrypt(url: str, folder: Path, begun: Any) -> None:
    """Run the job, and tell when its first batches are done."""
    world = World(url, folder, revalidate_after=0)
    rekey = Rekey(world.keyring, chunk=20, rate=None, workers=2)
    report = rekey.run(Job.of(world.notes), lambda progress: begun.set())
    world.close()
    if not report.ok:
        raise SystemExit(3)


def texts(world: World) -> dict[int, str]:
    query = select(world.notes.c.id, world.notes.c.owner, world.notes.c.text)
    with world.engine.connect() as connection:
        return {row.id: row.text for row in connection.execute(query)}
