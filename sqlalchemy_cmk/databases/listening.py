"""Hears what a database announces to those who listen. See :class:`Listener`."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Listener(ABC):
    """Waits for announcements on a connection that is used for nothing else."""

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Return whether something was announced since the last call, as soon as it is.

        Args:
            seconds: how long to wait for it.

        Raises:
            ConnectionError: the connection is lost.
        """

    @abstractmethod
    def wake(self) -> None:
        """Have :meth:`wait` return now; called by another thread."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is not the connection's."""
