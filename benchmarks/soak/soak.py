"""One soak from beginning to end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from sqlalchemy import Engine, create_engine, make_url, select, text
from sqlalchemy.orm import Session

from benchmarks.drill.app import text_of
from benchmarks.drill.observations import Journal
from benchmarks.drill.outcome import Stored
from benchmarks.drill.server import Server, gunicorn
from benchmarks.drill.setting import Setting, Times
from benchmarks.drill.vaults import Vaults
from benchmarks.soak.chaos import Chaos
from benchmarks.soak.clients import PAGE
from benchmarks.soak.notes import SETTING, Base, Note
from benchmarks.soak.outcome import Outcome
from benchmarks.soak.watch import Watch
from benchmarks.soak.workers import uvicorn
from sqlalchemy_cmk import Keyring

PATIENCE = 300
# Each server's clients number what they write from here on.
FIRST = 1_000_000
OPENED = text("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")


@dataclass(frozen=True)
class Scale:
    """How large a soak is.

    Attributes:
        seconds: for how long it goes on, in whole rounds; one at least.
        tenants: how many, each with its own vault and KEK.
        each: how many tenants are revoked, unreachable and slow, each, in a round.
        workers: of each server.
        threads: of the clients of each server, besides the one that lists all tenants.
        pause: between two requests of a thread, in seconds.
        drivers: the asynchronous drivers; each has a uvicorn of its own.
        times: the keyring's durations; a round lasts two and a half times `revalidate_after`.
    """

    seconds: float = 600.0
    tenants: int = 200
    each: int = 5
    workers: int = 2
    threads: int = 2
    pause: float = 0.1
    drivers: tuple[str, ...] = ("asyncpg",)
    times: Times = field(default_factory=lambda: Times(revalidate_after=30.0, retry_after=3.0))


class Soak:
    """Sets everything up, lets things happen while clients go on, and tells what was seen.

    Args:
        scale: how large.
        database_url: an empty PostgreSQL database.
        folder: an empty folder.
    """

    def __init__(self, scale: Scale, database_url: str, folder: Path) -> None:
        self._scale = scale
        self._url = database_url
        self._folder = folder
        self._tenants = [f"t{number:04}" for number in range(scale.tenants)]

    def run(self) -> Outcome:
        with ExitStack() as stack:
            vaults = stack.enter_context(Vaults(self._tenants))
            vaults.make_keys()
            setting = Setting(
                self._url, str(self._folder), vaults.login, vaults.ca_file, vaults.urls, self._scale.times
            )
            engine = create_engine(self._url)
            stack.callback(engine.dispose)
            keyring = setting.keyring(engine, "the operator")
            stack.callback(keyring.close)
            self._fill(setting, engine, keyring)
            servers = self._servers(setting.write(), stack)
            chaos = Chaos(
                vaults, servers, self._tenants, self._scale.each, 2.5 * self._scale.times.revalidate_after
            )
            journals = {server.name: Journal(self._journal(server)) for server in servers}
            began = monotonic()
            with Watch(servers, make_url(self._url).port or 0, lambda: _opened(engine)) as watch:
                with ExitStack() as clients:
                    for number, server in enumerate(servers, 1):
                        clients.enter_context(self._clients(server, number * FIRST))
                    chaos.run(self._scale.seconds)
                    self._await_pages(journals)
                seconds = monotonic() - began
            return Outcome(
                seconds=seconds,
                revalidate_after=self._scale.times.revalidate_after,
                seen={name: journal.read() for name, journal in journals.items()},
                happened=chaos.happened,
                disturbances=chaos.disturbances,
                calm=chaos.calm,
                samples=watch.samples,
                alive=watch.alive,
                sessions=watch.sessions,
                stored=self._stored(engine, keyring),
            )

    def _fill(self, setting: Setting, engine: Engine, keyring: Keyring) -> None:
        keyring.protect(Base)
        Base.metadata.create_all(engine)

        def begin(tenant: str) -> None:
            keyring.assign(tenant, setting.kek_uri(tenant))
            with Session(engine) as session:
                session.add(Note(tenant=tenant, number=1, text=text_of(tenant, 1)))
                session.commit()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(begin, self._tenants))

    def _servers(self, setting: Path, stack: ExitStack) -> list[Server]:
        workers = self._scale.workers
        commands = {"gunicorn": gunicorn("benchmarks.soak.sync_app:create_app()", workers)}
        for driver in self._scale.drivers:
            commands[f"uvicorn-{driver}"] = uvicorn(f"benchmarks.soak.async_app:{driver}", workers)
        return [
            stack.enter_context(Server(name, command, SETTING, setting)) for name, command in commands.items()
        ]

    @contextmanager
    def _clients(self, server: Server, first: int) -> Iterator[None]:
        numbers = [server.port, first, self._scale.threads, self._scale.pause]
        command = [sys.executable, "-m", "benchmarks.soak.clients", str(self._journal(server))]
        process = subprocess.Popen([*command, *map(str, numbers), *self._tenants], stdin=subprocess.PIPE)
        assert process.stdin is not None
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(PATIENCE)
        assert process.returncode == 0, "the clients failed"

    def _await_pages(self, journals: dict[str, Journal]) -> None:
        """Wait until each server has served a page that was asked for when all access had returned."""
        since = monotonic()
        while not all(
            any(one.tenant == PAGE and one.served and one.began > since for one in journal.read())
            for journal in journals.values()
        ):
            assert monotonic() < since + PATIENCE, "no page was served after all access had returned"
            time.sleep(0.2)

    def _journal(self, server: Server) -> Path:
        return self._folder / f"{server.name}.journal"

    def _stored(self, engine: Engine, keyring: Keyring) -> list[Stored]:
        keyring.forget()
        with Session(engine) as session:
            return [Stored(note.tenant, note.number, note.text) for note in session.scalars(select(Note))]


def _opened(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(OPENED) or 0)
