"""One drill from beginning to end."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from benchmarks.drill.app import SETTING, Note, text_of
from benchmarks.drill.observations import Journal, Seen
from benchmarks.drill.outcome import Outcome
from benchmarks.drill.owners import CUT, REVOKED, ROTATED, THROTTLED, affected
from benchmarks.drill.server import Server, gunicorn
from benchmarks.drill.setting import Times
from benchmarks.drill.stage import PATIENCE, Stage, at_once, clients
from benchmarks.drill.vaults import Vaults
from sqlalchemy_cmk import Keyring


@dataclass(frozen=True)
class Scale:
    """How large a drill is.

    Attributes:
        tenants: how many, each with its own vault and KEK.
        each: how many tenants are revoked, cut off, throttled and rotated, each.
        workers, threads: gunicorn's, and how many threads each worker has.
        connections: the clients' connections to each worker.
        pause: seconds for which each of them rests between two requests.
        lasting: for how long it goes on after every worker has noticed, in seconds.
        spread: within how many seconds the tenants are revoked, one after the other.
        times: the keyring's durations.
    """

    tenants: int = 200
    each: int = 20
    workers: int = 4
    threads: int = 10
    connections: int = 8
    pause: float = 0.0
    lasting: float = 0.0
    spread: float = 0.0
    times: Times = field(default_factory=Times)


class Drill:
    """Sets everything up, lets things happen while clients go on, and tells what was seen.

    Args:
        scale: how large.
        database_url: an empty database.
        folder: an empty folder.
    """

    def __init__(self, scale: Scale, database_url: str, folder: Path) -> None:
        self._scale = scale
        self._url = database_url
        self._folder = folder
        self._tenants = [f"t{number:04}" for number in range(scale.tenants)]
        revoked, cut, throttled, rotated = (
            self._tenants[first * scale.each : (first + 1) * scale.each] for first in range(4)
        )
        self._revoked = affected(revoked, REVOKED)
        self._unreachable = affected(cut, CUT) + affected(throttled, THROTTLED)
        self._rotated = affected(rotated, ROTATED)
        self._journal = Journal(folder / "journal")

    def run(self) -> Outcome:
        scale = self._scale
        with ExitStack() as stack:
            stage = Stage(self._url, self._folder, self._tenants, scale.times, Note, text_of, stack)
            threads = ("--threads", str(scale.threads), "--keep-alive", "300")
            command = gunicorn("benchmarks.drill.app:create_app()", scale.workers, *threads)
            server = stack.enter_context(Server("gunicorn", command, SETTING, stage.setting.write()))
            numbers = (server.port, scale.workers, scale.connections, scale.pause)
            with clients("benchmarks.drill.clients", self._folder / "journal", *numbers, *self._tenants):
                self._let_it_happen(stage.vaults, stage.keyring)
            return self._outcome(stage)

    def _let_it_happen(self, vaults: Vaults, keyring: Keyring) -> None:
        everybody = [*self._revoked, *self._unreachable, *self._rotated]
        self._await(
            lambda: self._everywhere(self._tenants, lambda one: one.served), "was not served at first"
        )
        at_once(lambda one: one.begin(vaults), [*self._unreachable, *self._rotated])
        for one in self._revoked:
            one.begin(vaults)
            time.sleep(self._scale.spread / self._scale.each)
        for one in self._rotated:
            keyring.lifecycle.rewrap(one.tenant)
            one.end(vaults)
        bound = self._scale.times.revalidate_after
        began = {one.tenant: one.began + bound for one in everybody}
        self._await(
            lambda: self._everywhere(began, lambda one: one.began >= began[one.tenant]),
            "was not asked for after the bound",
        )
        time.sleep(self._scale.lasting)
        at_once(lambda one: one.end(vaults), [*self._revoked, *self._unreachable])
        tells = {one.tenant: one.proof_tells for one in everybody}
        self._await(
            lambda: self._everywhere(tells, lambda one: one.served and one.proven >= tells[one.tenant]),
            "did not come back",
        )

    def _everywhere(self, tenants: Iterable[str], fits: Callable[[Seen], bool]) -> set[tuple[str, int]]:
        """Return for which tenants in which workers nothing that fits was seen."""
        seen = self._journal.read()
        workers = {one.worker for one in seen if one.worker}
        if len(workers) < self._scale.workers:
            return {("any tenant", 0)}
        wanted = {(tenant, worker) for tenant in tenants for worker in workers}
        return wanted - {one.cell for one in seen if one.cell in wanted and fits(one)}

    def _await(self, missing: Callable[[], set[tuple[str, int]]], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while left := missing():
            assert time.monotonic() < end, f"{len(left)} x tenant and worker {what}: {sorted(left)[:9]}"
            time.sleep(0.25)

    def _outcome(self, stage: Stage) -> Outcome:
        keyring = stage.keyring
        with stage.engine.connect() as connection:
            raw = connection.execute(text("SELECT text FROM notes")).scalars()
            plain = sum(b"note" in bytes(value) for value in raw)
        return Outcome(
            revalidate_after=self._scale.times.revalidate_after,
            seen=self._journal.read(),
            revoked=self._revoked,
            unreachable=self._unreachable,
            rotated=self._rotated,
            stored=stage.stored(),
            unsealed=plain,
            states={line.tenant: str(line.state) for line in keyring.status()},
            events=[(entry.event, entry.tenant) for entry in keyring.audit.entries()],
            broken_links=keyring.audit.verify().problems,
        )
