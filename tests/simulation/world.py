"""One seed: a database, a vault, processes, and what happens to them until all is calm and looked at."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, TypeVar

from sqlalchemy_cmk.keys.storage.tables import make_all_tables
from tests.simulation import judging, models
from tests.simulation.dialects import create_engine
from tests.simulation.faults import Faults, Rates
from tests.simulation.happenings import HAPPENINGS
from tests.simulation.invariants import MARK, Invariants
from tests.simulation.ledger import Ledger
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler, Task
from tests.simulation.step import Step
from tests.simulation.steps import STEPS
from tests.simulation.stored import Stored
from tests.simulation.substitutes import simulated
from tests.simulation.vault import Vault

T = TypeVar("T")

TENANTS = ("acme", "bravo", "coral")
KEKS = ("pmk", "acme-a", "acme-b", "bravo-a")
MOST_PROCESSES = 3
AT_ONCE = 5
STEPS_OF_A_SEED = 25
MOST_TURNS = 100_000
MOST_TURNS_TO_SEND = 100


class Broken(AssertionError):
    """A rule is broken."""


class World:
    """The world of one seed.

    Args:
        seed: chooses all that happens.
        database: the database, empty but for its tables.

    Attributes:
        scheduler: who runs.
        stirred: counts what may have given locks back.
        calm: whether the database serves without faults for now.
        shredded: the tenant whose keys were destroyed; empty if none was.
    """

    def __init__(self, seed: int, database: Any) -> None:
        self.seed = seed
        self.database = database
        self.random = random = Random(seed)
        self.scheduler = Scheduler(random, random.choice((0.1, 0.4, 1.0)))
        self.randomness = Random(random.random())
        self.vault = Vault(self.randomness, list(KEKS))
        self.faults = Faults(random, Rates.chosen(random))
        self.tenants = TENANTS[: random.randint(1, len(TENANTS))]
        self.record_keys = [self.randomness.randbytes(32)]
        self.ledger = Ledger()
        self.stored = Stored(database.rows, self.vault)
        self.invariants = Invariants(self)
        self.processes: list[Process] = []
        self.graves: list[Process] = []
        self.steps: list[Task] = []
        self.stirred = 0
        self.calm = False
        self.shredded = ""
        self._broken: str | None = None
        self._values = self._keys = self._names = 0
        self._steps = self._some([(one, one.weight) for one in STEPS])
        self._happenings = self._some(HAPPENINGS)

    def run(self) -> list[tuple[float, str, str]]:
        """Live through the seed and return its trace.

        Raises:
            Broken: a rule does not hold.
        """
        with ExitStack() as stack:
            self.clock = stack.enter_context(
                simulated(self.scheduler, self.randomness, self.invariants.about_to_use)
            )
            stack.callback(self._bury)
            for _ in range(self.random.randint(1, MOST_PROCESSES)):
                self.add_process()
            for _ in range(STEPS_OF_A_SEED):
                self._live()
            self._settle()
        return self.scheduler.trace

    def fail(self, rule: str) -> None:
        """A rule is broken: the world ends after this step."""
        self.scheduler.note(f"BROKEN: {rule}")
        self._broken = self._broken or rule

    def new_key(self) -> int:
        self._keys += 1
        return self._keys

    def new_value(self, tenant: str) -> str | None:
        """A text that is written once."""
        self._values += 1
        return None if self.random.random() < 0.1 else f"{MARK}{tenant}-{self._values}"

    @contextmanager
    def in_calm(self) -> Iterator[None]:
        """Have the database serve without faults."""
        before, self.calm = self.calm, True
        try:
            yield
        finally:
            self.calm = before

    def add_process(self) -> Process:
        """Start a process, and wait until it is there."""
        self._names += 1
        process = Process(self, f"P{self._names}", self.random.uniform(-10, 10))
        self.processes.append(process)
        self.finish(self.scheduler.spawn(f"{process.name}/start", process.start, process))
        return process

    def replace(self, process: Process) -> None:
        """Have a process close its keyring, and another take its place, with settings of its own."""
        with self.in_calm():
            self.finish(self.scheduler.spawn(f"{process.name}/close", process.keyring.close, process))
        process.crash()
        self.remove(process)
        self.add_process()

    def remove(self, process: Process) -> None:
        """Forget a process that has crashed."""
        self.processes.remove(process)
        self.graves.append(process)

    def begin(self, process: Process, step: Step) -> Task:
        """Have a process begin a step."""
        self._names += 1

        def work() -> None:
            try:
                step.work(process)
            except Exception as error:
                if not task.killed:
                    judging.judge(task, step, error)

        name = f"{process.name}/{step.name}-{self._names}"
        task = self.scheduler.spawn(name, work, process)
        self.steps.append(task)
        return task

    @property
    def under_way(self) -> list[Task]:
        """The steps that have not ended."""
        self.steps = [one for one in self.steps if not one.ended and not one.frozen]
        return self.steps

    def send_what_is_sealed(self) -> None:
        """Let processes send what they have sealed: from the one to the other no minute passes."""
        for process in self.processes:
            turns = iter(range(MOST_TURNS_TO_SEND))
            while process.unsent and next(turns, None) is not None:
                able = self.scheduler.able(process)
                if not able:
                    break
                self.scheduler.run(self.random.choice(able))
                self._look()
            process.unsent.clear()

    def _live(self) -> None:
        """Let one more step begin, and something happen perhaps, once there is room."""
        while len(self.under_way) >= self.random.randint(1, AT_ONCE):
            self.turn()
        if self.random.random() < 0.5:
            self._chosen(self._happenings)(self)
            self._look()
        self.begin(self.random.choice(self.processes), self._chosen(self._steps))

    def _some(self, all_of_them: Sequence[tuple[T, float]]) -> Sequence[tuple[T, float]]:
        """Leave some out in this seed, and have others come more often, so that these meet."""
        some = [(one, weight * self.random.choice((0, 1, 1, 4))) for one, weight in all_of_them]
        return [(one, weight) for one, weight in some if weight] or all_of_them

    def _chosen(self, some: Sequence[tuple[T, float]]) -> T:
        things, weights = zip(*some, strict=True)
        return self.random.choices(things, weights)[0]

    def turn(self) -> None:
        """Let one task go on; where none can, let time pass until one can."""
        if not self.scheduler.step():
            self.scheduler.let_time_pass()
        self._look()

    def _look(self) -> None:
        if self._broken is not None:
            raise Broken(self._broken)

    def finish(self, *tasks: Task) -> None:
        """Go on until these have ended."""
        for _ in range(MOST_TURNS):
            if all(one.ended for one in tasks):
                return
            self.turn()
        raise Broken(f"{[one.name for one in tasks if not one.ended]} never end")

    def _settle(self) -> None:
        """Heal everything; a new process reads it all, after the others have finished."""
        self.faults.heal()
        for kek in self.vault.keks.values():
            kek.enabled = True
        self.invariants.note_access()
        self.scheduler.note("everything is healed")
        self.finish(*self.under_way)
        for process in list(self.processes):
            process.crash()
            self.remove(process)
        process = self.add_process()
        self.finish(self.scheduler.spawn("last look", lambda: judging.last_look(process), process))
        self._look()

    def _bury(self) -> None:
        for process in (*self.processes, *self.graves):
            process.bury()


def make_tables(database: Any) -> None:
    """Make the application's table and the key tables."""
    made = models.take()
    make_all_tables(made.base.metadata, "cmk_")
    engine = create_engine(database.url)
    made.base.metadata.create_all(engine)
    made.visits[""].create(engine)
    engine.dispose()


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Have no finalizer run in the middle of a step: when it does depends on more than the seed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
