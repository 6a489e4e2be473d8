"""Worker pools of ``cmk rekey run``: this process, several local processes, or a Dask cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.rekey.clusters import refuse_open_addresses


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """A number of workers and the executor that runs them; ``None`` for threads of this process."""

    executor: Executor | None
    workers: int


@contextmanager
def worker_pool(workers: int | None, dask: str | None, insecure: bool = False) -> Iterator[WorkerPool]:
    """Start the workers of a run, and stop them at the end.

    Args:
        workers: how many; by default one, or with ``dask`` the number of the cluster's threads.
        dask: the address of a cluster's scheduler, ``tls://HOST:8786``.
        insecure: whether the cluster may be one without TLS.

    Raises:
        ConfigurationError: the extra ``dask`` is not installed, the cluster is one without TLS, or no
            certificate for it is configured.
        KeyUnavailable: the scheduler cannot be reached.
    """
    if dask is not None:
        if not insecure:
            refuse_open_addresses([dask], "--dask-insecure")
        with _cluster(workers, dask) as made:
            yield made
    elif (workers or 1) == 1:
        yield WorkerPool(None, 1)
    else:
        # Spawned and not forked: this process holds opened keys and database connections.
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_leave_interrupts) as pool:
            yield WorkerPool(pool, workers or 1)


@contextmanager
def _cluster(workers: int | None, address: str) -> Iterator[WorkerPool]:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigurationError("--dask needs the extra: pip install 'sqlalchemy-cmk[dask]'") from None
    try:
        client = Client(address, timeout=10)
    except TypeError:
        # Dask's answer where it has no certificate to show.
        raise ConfigurationError(
            f"the scheduler at {address} wants a certificate: set Dask's distributed.comm.tls.ca-file and "
            "distributed.comm.tls.client"
        ) from None
    except (OSError, TimeoutError, ValueError) as error:
        raise KeyUnavailable(
            f"the scheduler at {address} cannot be reached: {type(error).__name__}"
        ) from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise KeyUnavailable(f"the cluster at {address} has no worker")
        yield WorkerPool(client.get_executor(pure=False), workers or threads)


def _leave_interrupts() -> None:
    """Ignore Ctrl-C in workers: the command lets each of them finish its range."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
