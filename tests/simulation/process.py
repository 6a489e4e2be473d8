"""A process: a keyring with the library's real code, its connections, its client of the vault, its models."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from sqlalchemy import QueuePool
from sqlalchemy.orm import Session

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.opening.calls import AT_ONCE
from sqlalchemy_cmk.runtime import forks
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from tests.simulation import models
from tests.simulation.access import Troubles
from tests.simulation.dialects import create_engine
from tests.simulation.faults import Faults
from tests.simulation.scheduler import Scheduler, Task
from tests.simulation.vault import VaultClient
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

MANY = 40


@dataclass(frozen=True)
class Settings:
    """A keyring's settings; processes differ in them while an application is deployed again."""

    revalidate_after: float
    outage_grace: float

    @classmethod
    def chosen(cls, random: Random) -> Settings:
        return cls(random.choice((60, 300, 1200)), random.choice((0, 0, 600, 3600)))

    @property
    def longest_use(self) -> float:
        return max(self.revalidate_after, self.outage_grace)


LONGEST_USE = 3600


class Process:
    """One process of the application.

    Attributes:
        settings: its keyring's.
        seconds_apart: how far its wall clock is from that of the others.
        troubles: when a KEK or the database was last out of its reach, refused or lied.
        stalled: how many of its calls of KEKs stall.
        is_started: whether it has its keyring.
        unsent: the DEKs of values that are sealed and not sent yet.
    """

    def __init__(self, world: World, name: str, seconds_apart: float) -> None:
        self.world = world
        self.name = name
        self.settings = Settings.chosen(world.random)
        self.seconds_apart = seconds_apart
        self.troubles = Troubles(lambda: world.scheduler.now)
        self.stalled = 0
        self.unsent: set[bytes] = set()
        self.alive = True
        self.is_started = False
        self.models = models.take()
        self.wire = Wire(self)
        self._frozen: list[Task] = []
        self._watched: list[Any] = []

    @property
    def scheduler(self) -> Scheduler:
        return self.world.scheduler

    @property
    def faults(self) -> Faults:
        return self.world.faults

    def start(self) -> None:
        """Make the keyring. SQLAlchemy's first connect holds a lock that the scheduler does not know."""
        watched = set(forks._watched)
        with self.scheduler.undisturbed(), self.world.in_calm():
            pool = {"poolclass": QueuePool, "pool_size": MANY, "max_overflow": MANY}
            self.engine = create_engine(self.world.database.url, creator=self._connect, **pool)
            self.keyring = Keyring(
                self.engine,
                platform_key="sim:pmk",
                providers=[VaultClient(self.world.vault, self)],
                record_key=lambda: list(self.world.record_keys),
                actor=self.name,
                clock=self.world.clock,
                revalidate_after=self.settings.revalidate_after,
                outage_grace=self.settings.outage_grace,
            )
            self.keyring.protect(self.models.base)
            for table in self.models.visits.values():
                self.keyring.protect(table.metadata)
            self._connect_for_the_first_time()
        self._watched = sorted(set(forks._watched) - watched, key=lambda one: type(one).__name__)
        self.is_started = True

    def _connect_for_the_first_time(self) -> None:
        self.engine.connect().close()
        self.keyring.connections.run(lambda connection: None)
        self.keyring.connections.use(lambda connection: None)

    def _connect(self) -> Any:
        connection = self.world.database.connect(self.wire)
        self.wire.connections.append(connection)
        return connection

    def session(self) -> Session:
        return Session(self.engine)

    def keeps_calls_waiting(self) -> bool:
        """Whether a call of the vault waits for a thread to begin it: it is given up after ten seconds."""
        if self.stalled >= AT_ONCE:
            return True
        mine = (one for one in self.scheduler.tasks if one.process is self and "cmk-kek" in one.name)
        return any(one.may_run(self.scheduler.now) for one in mine)

    def fork(self) -> Task:
        """Go on as the child of this process, whose other threads and connections the child has not."""
        self._freeze()
        self.wire = Wire(self)
        return self.scheduler.spawn(f"{self.name}/fork", self._go_on_as_child, self)

    def _go_on_as_child(self) -> None:
        for one in self._watched:
            one.after_fork()
        with self.scheduler.undisturbed(), self.world.in_calm():
            self.engine.dispose(close=False)  # as the application has to
            self._connect_for_the_first_time()

    def crash(self) -> None:
        """End here and now: nothing is rolled back but by the database, and nothing in memory is left."""
        self.alive = False
        self._freeze()

    def _freeze(self) -> None:
        """Have every thread stop for good where it is, with what it holds."""
        mine = [one for one in self.scheduler.tasks if one.process is self]
        for task in mine:
            task.frozen = True
        self._frozen += mine
        self.scheduler.tasks = [one for one in self.scheduler.tasks if one.process is not self]
        self.wire.cut()

    def bury(self) -> None:
        """Free what the simulation holds of it, at the end of the world."""
        self.crash()
        self.scheduler.kill(self._frozen)
        for one in self._watched:
            if isinstance(one, BackgroundWriter):
                one.after_fork()  # what it has not written would be written when the tests end
        models.give_back(self.models)
