"""Who runs: one task at a time, chosen by a seed, on a clock that moves when the scheduler says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

Ready = Callable[[], bool]

TICK = 0.001


class Crashed(BaseException):
    """The process of this task is gone: nothing more of it happens."""


class Stuck(AssertionError):
    """Tasks wait for each other, and no time that passes would help."""


class Task(greenlet):
    """One thread of a simulated process.

    Attributes:
        name: what the trace calls it.
        process: the process whose thread it is; `None` for the world's own.
        serves: whether it is one of the library's own threads, which nobody waits for.
        error: what it ended with.
        began: when it was made.
        pending: by key, what it writes with its next commit.
        frozen: whether it stopped for good, because its process did.
    """

    def __init__(self, scheduler: Scheduler, name: str, work: Callable[[], Any], process: Any, serves: bool):
        super().__init__(self._run_work, scheduler.hub)
        self.name, self.process, self.serves = name, process, serves
        self.error: BaseException | None = None
        self.ready: Ready | None = None
        self.until = inf
        self.killed = self.frozen = False
        self.began = scheduler.now
        self.pending: dict[int, Any] = {}
        self._work = work

    def _run_work(self) -> None:
        try:
            self._work()
        except Crashed:
            pass
        except BaseException as error:
            self.error = error

    @property
    def ended(self) -> bool:
        return bool(self.dead)

    def may_run(self, now: float) -> bool:
        return self.ready is None or now >= self.until or self.ready()


class Scheduler:
    """Runs tasks, each up to its next point, in an order that depends on the seed alone.

    Args:
        random: chooses.
        eagerness: how often another task gets its turn at a point, from 0 to 1.

    Attributes:
        now: seconds of the simulated clock.
        trace: what happened: the time, the task and what it was about to do.
    """

    def __init__(self, random: Random, eagerness: float = 1.0) -> None:
        self.random = random
        self.eagerness = eagerness
        self.hub = getcurrent()
        self.now = 1000.0
        self.tasks: list[Task] = []
        self.trace: list[tuple[float, str, str]] = []
        self._leaps: list[tuple[float, float]] = []
        self._undisturbed = 0

    @property
    def runs_here(self) -> bool:
        """Whether the caller belongs to this simulation: a task, or the hub; no other thread does."""
        found = getcurrent()
        return found is self.hub or isinstance(found, Task)

    @property
    def current(self) -> Task | None:
        """The task that runs; `None` in the hub, where the world chooses."""
        found = getcurrent()
        return found if isinstance(found, Task) else None

    def leap(self, seconds: float) -> None:
        """Have time pass while every task stands still where it is, as on a machine that sleeps."""
        self._leaps.append((self.now, seconds))
        self.now += seconds

    def earlier(self, moment: float, seconds: float) -> float:
        """The moment that lies so long before another, without the time in which all stood still."""
        for began, length in reversed(self._leaps):
            between = moment - (began + length)
            if between >= seconds:
                break
            if between >= 0:
                moment, seconds = began, seconds - between
        return moment - seconds

    def spawn(self, name: str, work: Callable[[], Any], process: Any = None, *, serves: bool = False) -> Task:
        """Begin a task; it runs when it is chosen."""
        task = Task(self, name, work, process, serves)
        self.tasks.append(task)
        return task

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        task = self.current
        self.trace.append((self.now, task.name if task else "world", text))

    def point(self, text: str) -> None:
        """Let others go first, perhaps: the task is about to meet the outside."""
        task = self.current
        if task is None:
            return
        if task.killed:
            raise Crashed
        self.trace.append((self.now, task.name, text))
        if self._undisturbed:
            return
        self.now += TICK
        if self.random.random() < self.eagerness:
            self._leave(task)

    def wait(self, ready: Ready, seconds: float | None = None) -> bool:
        """Wait until something is so, or this long; return whether it is."""
        if ready():
            return True
        task = self.current
        assert task is not None, "the hub chooses, and never waits"
        if task.killed:
            raise Crashed
        task.ready, task.until = ready, inf if seconds is None else self.now + max(seconds, TICK)
        self._leave(task)
        return ready()

    def sleep(self, seconds: float) -> None:
        """Wait for a time."""
        until = self.now + seconds
        self.wait(lambda: self.now >= until, seconds)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Go through a block without letting others go first."""
        self._undisturbed += 1
        try:
            yield
        finally:
            self._undisturbed -= 1

    def step(self) -> bool:
        """Run one task to its next point; `False` where none can run before time passes."""
        self.tasks = [one for one in self.tasks if not one.ended]
        able = self.able()
        if not able:
            return False
        self.run(self.random.choice(able))
        return True

    def able(self, process: Any = None) -> list[Task]:
        """The tasks that can run now: all of them, or a process's."""
        of_it = self.tasks if process is None else [one for one in self.tasks if one.process is process]
        return [one for one in of_it if not one.ended and one.may_run(self.now)]

    def let_time_pass(self) -> None:
        """Go on to the moment at which the first task has waited long enough."""
        moment = min((one.until for one in self.tasks if not one.ended), default=inf)
        if moment == inf:
            raise Stuck([one.name for one in self.tasks if not one.ended])
        self.now = max(self.now, moment)

    def kill(self, tasks: list[Task]) -> None:
        """End tasks where they are. What they still try to do, as they unwind, fails."""
        for task in tasks:
            task.killed = True
        for task in tasks:
            if task:  # it has begun, and not ended
                task.throw(Crashed)
                assert task.ended, f"{task.name} goes on after its crash"

    def run(self, task: Task) -> None:
        """Run a task to its next point."""
        task.ready, task.until = None, inf
        task.switch()
        if task.ended and task.error is not None:
            raise task.error

    def _leave(self, task: Task) -> None:
        self.hub.switch()
        if task.killed:
            raise Crashed
