"""Private database servers for the tests, each on a free loopback port with its data in its own folder.

`python -m tests.support.servers -- COMMAND...` runs COMMAND while the servers are up, with their URLs in its
environment, and exits with its status.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pymysql

from tests.support.memory import folder_in_memory
from tests.support.processes import (
    ServerProcess,
    await_ready,
    free_port,
    one_after_the_other,
)

POSTGRESQL_URL = "CMK_TEST_POSTGRESQL_URL"
MARIADB_URL = "CMK_TEST_MARIADB_URL"
# Several workers share a server, and tests of concurrency start many processes.
MAX_CONNECTIONS = 400
POSTGRESQL_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Catalogue queries look costly, and are run once: compiling them takes a seventh of the server's time.
    "jit": "off",
    "max_connections": str(MAX_CONNECTIONS),
}
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")


class ServerNotInstalled(Exception):
    """The programs of a database server are not on this machine."""


@dataclass(frozen=True)
class Server:
    """A running database server: the URLs of its administrative database, and the way to stop it."""

    url: str
    async_url: str | None
    stop: Callable[[], None]


def postgresql_command(data: Path, port: int) -> list[str]:
    """The command that runs a server on its data, with its socket beside them.

    A standby needs the settings of its primary: with fewer connections it refuses to start.
    """
    run = [str(postgresql_programs() / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port)]
    run += ["-k", str(data.parent)]
    return run + [part for name, value in POSTGRESQL_SETTINGS.items() for part in ("-c", f"{name}={value}")]


def start_postgresql(folder: Path) -> Server:
    """A new PostgreSQL server whose data lies in `folder`; stopping it removes the folder."""
    programs = postgresql_programs()
    port, data = free_port(), folder / "data"
    init = [str(programs / "initdb"), "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    init += ["--username=postgres", f"--pgdata={data}"]
    run = postgresql_command(data, port)
    users = ("postgres", "nobody")
    process = ServerProcess(folder, users, signal.SIGINT, one_after_the_other(init, run))
    address = f"postgres@127.0.0.1:{port}/postgres"
    await_ready(process, "PostgreSQL", lambda: psycopg.connect(f"postgresql://{address}").close())
    return Server(f"postgresql+psycopg://{address}", f"postgresql+asyncpg://{address}", process.stop)


def start_mariadb(folder: Path, *options: str) -> Server:
    """A new MariaDB server whose data lies in `folder`; stopping it removes the folder."""
    install, server = (mariadb_program(name) for name in ("mariadb-install-db", "mariadbd"))
    port = free_port()
    # A starting server clears its temporary folder, so that sharing one breaks another that is being set up.
    common = ["--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={folder}", "--skip-name-resolve"]
    init = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    run = [server, *common, "--bind-address=127.0.0.1", "--skip-networking=0", f"--port={port}"]
    run += [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", "--innodb-use-native-aio=0"]
    run += [f"--max-connections={MAX_CONNECTIONS}"]
    run += ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--character-set-server=utf8mb4"]
    run += options
    users = ("mysql", "nobody")
    process = ServerProcess(folder, users, signal.SIGTERM, one_after_the_other(init, run))
    await_ready(process, "MariaDB", lambda: pymysql.connect(host="127.0.0.1", port=port, user="root").close())
    # PyMySQL would read the system's certificates for each connection, half of a test's CPU time.
    options = "charset=utf8mb4&ssl_disabled=true"
    return Server(f"mariadb+pymysql://root@127.0.0.1:{port}/mysql?{options}", None, process.stop)


def postgresql_programs() -> Path:
    """The folder of PostgreSQL's server programs: that of the PATH, or Debian's newest version."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: float(path.parts[-3]), default=None)
    if newest is None:
        raise ServerNotInstalled("PostgreSQL server not installed: no initdb in PATH or /usr/lib/postgresql")
    return newest.parent


def mariadb_program(name: str) -> str:
    """The path of one of MariaDB's programs."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])
    if found := shutil.which(name, path=path):
        return found
    raise ServerNotInstalled(
        f"MariaDB server not installed: no {name} in PATH or {', '.join(SYSTEM_FOLDERS)}"
    )


STARTERS = {POSTGRESQL_URL: start_postgresql, MARIADB_URL: start_mariadb}


def start(variable: str) -> Server:
    """The server of one of the two environment variables, in a new folder, in memory if possible."""
    folder = Path(tempfile.mkdtemp(prefix="cmk-test-", dir=folder_in_memory()))
    try:
        return STARTERS[variable](folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def running_servers() -> Iterator[dict[str, str]]:
    """The environment variables of the servers, started here, that the environment does not name yet."""
    with ExitStack() as stack:
        started: dict[str, str] = {}
        for variable in STARTERS:
            if os.environ.get(variable):
                continue
            try:
                server = start(variable)
            except ServerNotInstalled as error:
                print(error, file=sys.stderr)
                continue
            stack.callback(server.stop)
            started[variable] = server.url
        yield started


def run(command: list[str], variables: dict[str, str]) -> int:
    """Run the command with these variables, hand SIGTERM and SIGHUP on to it, and return its status.

    An interrupt from the keyboard reaches the command by itself, and here only means to wait for its end.
    """
    child = subprocess.Popen(command, env={**os.environ, **variables})
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: child.send_signal(received))
    status = child.wait()
    return status if status >= 0 else 128 - status


def main(arguments: list[str]) -> int:
    """Run the command that follows `--` while the servers are up."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    with running_servers() as variables:
        return run(command, variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
