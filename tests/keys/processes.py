"""Real processes beside the test's own, which begin at the same moment, or die where a test says."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

SECONDS = 240
KILLED = -signal.SIGKILL

# Each process is new, and shares neither connections nor keys with the test. The server that makes them
# has imported the library already: twenty imports at once would not let them begin together.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["sqlalchemy_cmk.rekey", "sqlalchemy.orm", "psycopg", "pymysql", "pytest", "tests.support.world"]
)

_gate: Any = None


def together(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returned in each of `count` processes that began it at the same moment."""
    gate = _context.Barrier(count)
    with ProcessPoolExecutor(count, _context, _set_gate, (gate,)) as pool:
        running = [pool.submit(_after_all_came, work, arguments) for _ in range(count)]
        return [one.result(SECONDS) for one in running]


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(*arguments)` returned in another process."""
    return together(1, work, *arguments)[0]


def begin(work: Callable[..., Any], *arguments: Any) -> Any:
    """Another process that runs `work(*arguments)`; the caller ends it."""
    process = _context.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def exit_code(work: Callable[..., Any], *arguments: Any) -> int:
    """How another process that ran `work(*arguments)` ended."""
    process = begin(work, *arguments)
    process.join(SECONDS)
    code = process.exitcode
    process.kill()
    return int(code)


def in_fork(work: Callable[[], bool]) -> bool:
    """Whether `work` went well in a forked copy of this process."""
    child = os.fork()
    if child == 0:
        good = False
        try:
            signal.alarm(SECONDS)
            good = work()
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def _set_gate(gate: Any) -> None:
    global _gate
    _gate = gate


def _after_all_came(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    _gate.wait(SECONDS)
    return work(*arguments)
