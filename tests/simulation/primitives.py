"""What the library takes from `threading`, `queue`, `time` and `concurrent.futures`, under the scheduler."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future
from functools import partial
from queue import Empty, Full
from types import SimpleNamespace
from typing import Any, NamedTuple

from greenlet import getcurrent

from tests.simulation.scheduler import Scheduler, Task


class Lock:
    """`threading.Lock`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._held and blocking:
            self._scheduler.wait(lambda: not self._held, None if timeout < 0 else timeout)
        if self._held:
            return False
        self._held = True
        return True

    def release(self) -> None:
        self._held = False

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock:
    """`threading.RLock`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._lock = Lock(scheduler)
        self._owner: Any = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._owner is not getcurrent():
            if not self._lock.acquire(blocking, timeout):
                return False
            self._owner = getcurrent()
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def release_all(self) -> int:
        depth, self._depth = self._depth, 1
        self.release()
        return depth

    def acquire_again(self, depth: int) -> None:
        self.acquire()
        self._depth = depth


class Condition:
    """`threading.Condition`."""

    def __init__(self, scheduler: Scheduler, lock: Any = None) -> None:
        self._scheduler = scheduler
        self._lock = lock or RLock(scheduler)
        self._waiting: list[list[bool]] = []
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        ticket = [False]
        self._waiting.append(ticket)
        depth = self._lock.release_all() if isinstance(self._lock, RLock) else self._lock.release()
        try:
            self._scheduler.wait(lambda: ticket[0], timeout)
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if isinstance(self._lock, RLock):
                self._lock.acquire_again(depth)
            else:
                self._lock.acquire()
        return ticket[0]

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        until = None if timeout is None else self._scheduler.now + timeout
        while not predicate():
            left = None if until is None else until - self._scheduler.now
            if left is not None and left <= 0:
                break
            self.wait(left)
        return predicate()

    def notify(self, n: int = 1) -> None:
        for ticket in self._waiting[:n]:
            ticket[0] = True
            self._waiting.remove(ticket)

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """`threading.Event`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        return self._scheduler.wait(self.is_set, timeout)


class Thread:
    """`threading.Thread`: a task of the process whose task starts it."""

    def __init__(
        self,
        scheduler: Scheduler,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        name: str = "thread",
        daemon: bool = False,
    ) -> None:
        self._scheduler = scheduler
        self._work = partial(target, *args)
        self._name = name
        self._task: Task | None = None

    def start(self) -> None:
        task = self._scheduler.current
        process = task.process if task else None
        name = f"{process.name}/{self._name}" if process else self._name
        self._task = self._scheduler.spawn(name, self._work, process, serves=True)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.ended

    def join(self, timeout: float | None = None) -> None:
        self._scheduler.wait(lambda: not self.is_alive(), timeout)


class Queue:
    """`queue.Queue`."""

    def __init__(self, scheduler: Scheduler, maxsize: int = 0) -> None:
        self._scheduler = scheduler
        self._most = maxsize
        self._items: deque[Any] = deque()

    def empty(self) -> bool:
        return not self._items

    def put(self, item: Any, timeout: float | None = None) -> None:
        if not self._scheduler.wait(lambda: not self._most or len(self._items) < self._most, timeout):
            raise Full
        self._items.append(item)

    def get(self, timeout: float | None = None) -> Any:
        if not self._scheduler.wait(lambda: bool(self._items), timeout):
            raise Empty
        return self._items.popleft()


class Done(NamedTuple):
    """What `wait` returns; in the order in which it was given, and not in that of a set."""

    done: list[Future[Any]]
    not_done: list[Future[Any]]


class Executor:
    """`ThreadPoolExecutor`."""

    def __init__(self, scheduler: Scheduler, max_workers: int = 1) -> None:
        self._scheduler = scheduler
        self._free = max_workers
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._begun: list[Thread] = []

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, partial(work, *arguments)))
        if self._free:
            self._free -= 1
            thread = Thread(self._scheduler, self._serve, name="worker")
            thread.start()
            self._begun.append(thread)
        return future

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._begun:
            thread.join()

    def _serve(self) -> None:
        try:
            while self._waiting:
                future, work = self._waiting.popleft()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = work()
                except Exception as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
        finally:
            self._free += 1


def wait_for_futures(
    scheduler: Scheduler,
    futures: Collection[Future[Any]],
    timeout: float | None = None,
    return_when: str = ALL_COMPLETED,
) -> Done:
    """`concurrent.futures.wait`."""
    enough = any if return_when == FIRST_COMPLETED else all
    if futures:
        scheduler.wait(lambda: enough(one.done() for one in futures), timeout)
    return Done([one for one in futures if one.done()], [one for one in futures if not one.done()])


def threading_of(scheduler: Scheduler) -> SimpleNamespace:
    """The module `threading`, as far as the library uses it."""
    made = {one.__name__: partial(one, scheduler) for one in (Lock, RLock, Condition, Event, Thread)}
    return SimpleNamespace(local=threading.local, get_ident=lambda: id(getcurrent()), **made)


def time_of(scheduler: Scheduler) -> SimpleNamespace:
    """The module `time`, as far as the library uses it."""

    def now() -> float:
        return scheduler.now

    return SimpleNamespace(monotonic=now, perf_counter=now, time=now, sleep=scheduler.sleep)
