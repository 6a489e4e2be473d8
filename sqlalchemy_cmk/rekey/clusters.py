"""Dask clusters on which keys may be opened: anyone who reaches a scheduler runs code in its workers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor

from sqlalchemy_cmk.errors import ConfigurationError

CLOSED = ("tls://", "wss://", "inproc://")


def refuse_open_cluster(executor: Executor | None) -> None:
    """Refuse the executor of a Dask cluster that others can reach without a certificate.

    Args:
        executor: any executor; one that is not of a cluster is let be.

    Raises:
        ConfigurationError: the scheduler or a worker listens without TLS.
    """
    if not type(executor).__module__.startswith("distributed."):
        return
    # Dask's executor tells nobody whose it is. Without its client the cluster counts as open.
    client = getattr(executor, "_client", None)
    told = {} if client is None else client.scheduler_info()
    refuse_open_addresses([str(told.get("address", "")), *map(str, told.get("workers", ()))], "insecure=True")


def refuse_open_addresses(addresses: Iterable[str], override: str) -> None:
    """Refuse the addresses of a cluster that anybody can give work to.

    Args:
        addresses: of the scheduler and the workers.
        override: how the caller says that it is meant.

    Raises:
        ConfigurationError: one of them is not of TLS or of this process.
    """
    for address in addresses:
        if not address.startswith(CLOSED):
            raise ConfigurationError(
                f"the Dask cluster at {address} is open: anyone who reaches it runs code where keys are "
                f"open; use tls://, or {override} where nobody else reaches its network"
            )
