"""Servers of one test: a standby of PostgreSQL, and a MariaDB with options of its own."""

import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.support.memory import folder_in_memory
from tests.support.processes import ServerProcess, await_ready, free_port, one_after_the_other
from tests.support.servers import (
    Server,
    ServerNotInstalled,
    postgresql_command,
    postgresql_programs,
    start_mariadb,
)
from tests.support.skips import unavailable


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for a server of one test."""
    folder = Path(tempfile.mkdtemp(prefix="cmk-test-", dir=folder_in_memory()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standby_of(primary: str) -> Iterator[str]:
    """The URL of a database on a hot standby that has what its primary has now, and gets nothing more."""
    url = make_url(primary)
    with own_folder() as folder:
        programs, port, data = postgresql_programs(), free_port(), folder / "data"
        copy = [str(programs / "pg_basebackup"), f"--pgdata={data}", "--checkpoint=fast", "--no-sync"]
        copy += [f"--host={url.host}", f"--port={url.port}", f"--username={url.username}"]
        run = [*postgresql_command(data, port), "-c", "hot_standby=on"]
        signalled = ["touch", str(data / "standby.signal")]
        start = ["/bin/sh", "-c", f"{shlex.join(signalled)} && exec {shlex.join(run)}"]
        users = ("postgres", "nobody")
        process = ServerProcess(folder, users, signal.SIGINT, one_after_the_other(copy, start))
        address = f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
        await_ready(process, "the standby", lambda: psycopg.connect(address).close())
        try:
            yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        finally:
            process.stop()


@contextmanager
def mariadb_server(*options: str) -> Iterator[Server]:
    """A server of MariaDB with these options; without its programs the test is skipped or fails."""
    with own_folder() as folder:
        try:
            server = start_mariadb(folder, *options)
        except ServerNotInstalled as error:
            unavailable(str(error))
        try:
            yield server
        finally:
            server.stop()
