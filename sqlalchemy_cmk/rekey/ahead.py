"""Reads a batch ahead: a thread reads and converts the next one while the database writes one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextvars import copy_context

from sqlalchemy import Connection

from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.rekey.batch import Batch
from sqlalchemy_cmk.rekey.reading import MAX_BYTES

BatchStream = Generator[Batch, None, None]

_LOOK_EVERY = 1.0  # seconds between two looks whether the other thread is alive


class _Handover:
    """Takes batches from the thread that reads to the one that writes, one at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batch: Batch | None = None
        self._writing = False
        self._ended = False
        self._error: BaseException | None = None
        self._stopped = False

    def put(self, batch: Batch | None) -> bool:
        """Hand a batch over, and wait until it is written if it is large; ``False`` if no more is wanted.

        ``None`` stands for the end.
        """
        if batch is None:
            self.end()
            return False
        with self._changed:
            self._wait_for(lambda: self._batch is None)
            if not self._stopped:
                is_large, self._batch = batch.bytes > MAX_BYTES, batch
                self._changed.notify_all()
                del batch
                if is_large:
                    self._wait_for(lambda: self._batch is None and not self._writing)
            return not self._stopped

    def end(self, error: BaseException | None = None) -> None:
        """Note that no batch follows."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Have the thread that reads end."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def take(self, thread: threading.Thread) -> Batch | None:
        """Return the next batch, the one before being written; ``None`` after the last."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while self._batch is None and not self._ended:
                self._changed.wait(_LOOK_EVERY)
                if not thread.is_alive() and self._batch is None and not self._ended:
                    raise RuntimeError("the thread that reads rows has ended before its last row")
            if self._batch is None:
                if self._error is not None:
                    raise self._error
                return None
            batch, self._batch, self._writing = self._batch, None, True
            self._changed.notify_all()
            return batch

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._stopped or condition())


def read_ahead(connections: Connections, read: Callable[[Connection], BatchStream]) -> BatchStream:
    """Yield batches that a thread reads and converts, one ahead, on a connection of its own.

    After a batch of more than :data:`.reading.MAX_BYTES` the thread waits until it is written.

    Args:
        connections: where the thread takes its connection from.
        read: returns the batches, read by a connection.
    """
    handover = _Handover()

    def work(connection: Connection) -> None:
        batches = read(connection)
        while handover.put(next(batches, None)):
            pass

    def run() -> None:
        try:
            connections.use(work)
        except BaseException as error:
            handover.end(error)

    context = copy_context()  # what keys are used for is said there
    thread = threading.Thread(target=context.run, args=(run,), name="cmk-rekey-read", daemon=True)
    thread.start()
    try:
        while (batch := handover.take(thread)) is not None:
            yield batch
            del batch  # the next is waited for without this one in memory
    finally:
        handover.stop()
        thread.join()
