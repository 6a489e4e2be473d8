"""One soak from beginning to end."""

import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from sqlalchemy import Engine, make_url, text

from benchmarks.drill.app import text_of
from benchmarks.drill.observations import Journal
from benchmarks.drill.server import Server, gunicorn
from benchmarks.drill.setting import Times
from benchmarks.drill.stage import PATIENCE, Stage, clients
from benchmarks.soak.chaos import Chaos
from benchmarks.soak.clients import PAGE
from benchmarks.soak.notes import SETTING, Note
from benchmarks.soak.outcome import Outcome
from benchmarks.soak.watch import Watch
from benchmarks.soak.workers import uvicorn

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
            times = self._scale.times
            stage = Stage(self._url, self._folder, self._tenants, times, Note, text_of, stack)
            servers = self._servers(stage.setting.write(), stack)
            every = 2.5 * times.revalidate_after
            chaos = Chaos(stage.vaults, servers, self._tenants, self._scale.each, every)
            journals = {server.name: Journal(self._journal(server)) for server in servers}
            began = monotonic()
            with Watch(servers, make_url(self._url).port or 0, lambda: _opened(stage.engine)) as watch:
                with ExitStack() as running:
                    for number, server in enumerate(servers, 1):
                        running.enter_context(self._clients(server, number * FIRST))
                    chaos.run(self._scale.seconds)
                    self._await_pages(journals)
                seconds = monotonic() - began
            return Outcome(
                seconds=seconds,
                revalidate_after=times.revalidate_after,
                seen={name: journal.read() for name, journal in journals.items()},
                happened=chaos.happened,
                disturbances=chaos.disturbances,
                calm=chaos.calm,
                samples=watch.samples,
                alive=watch.alive,
                sessions=watch.sessions,
                stored=stage.stored(),
            )

    def _servers(self, setting: Path, stack: ExitStack) -> list[Server]:
        workers = self._scale.workers
        commands = {"gunicorn": gunicorn("benchmarks.soak.sync_app:create_app()", workers)}
        for driver in self._scale.drivers:
            commands[f"uvicorn-{driver}"] = uvicorn(f"benchmarks.soak.async_app:{driver}", workers)
        return [
            stack.enter_context(Server(name, command, SETTING, setting)) for name, command in commands.items()
        ]

    def _clients(self, server: Server, first: int) -> AbstractContextManager[None]:
        numbers = (server.port, first, self._scale.threads, self._scale.pause)
        return clients("benchmarks.soak.clients", self._journal(server), *numbers, *self._tenants)

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


def _opened(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(OPENED) or 0)
