"""Where the workers of ``cmk rekey run`` are: in this process, in processes beside it, or in a cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers, and the executor that runs them; ``None`` for threads of this process."""

    executor: Executor | None
    workers: int


@contextmanager
def crew(workers: int | None, dask: str | None) -> Iterator[Crew]:
    """Provide workers for a run.

    Args:
        workers: how many; without it one here, or as many as the cluster has threads.
        dask: the address of a cluster's scheduler, ``tcp://HOST:8786``.

    Raises:
        ConfigurationError: the extra ``dask`` is not installed.
        KeyUnavailable: the scheduler cannot be reached.
    """
    if dask is not None:
        with _cluster(workers, dask) as made:
            yield made
    elif (workers or 1) == 1:
        yield Crew(None, 1)
    else:
        # Not forked: this process holds opened keys and database connections.
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_leave_interrupts) as pool:
            yield Crew(pool, workers or 1)


@contextmanager
def _cluster(workers: int | None, address: str) -> Iterator[Crew]:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigurationError("--dask needs the extra: pip install 'sqlalchemy-cmk[dask]'") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as error:
        raise KeyUnavailable(
            f"the scheduler at {address} cannot be reached: {type(error).__name__}"
        ) from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise KeyUnavailable(f"the cluster at {address} has no worker")
        yield Crew(client.get_executor(pure=False), workers or threads)


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the command, which lets each worker end the range it is at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
