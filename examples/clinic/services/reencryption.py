"""Re-encrypts a tenant's rows in the background: begun, watched, cancelled, and begun again where it stopped.

What is done is committed with the rows, so there is nothing to keep here but how far it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from examples.clinic.services.certificates import certified
from examples.clinic.services.keys import jobs
from examples.clinic.storage import Storage
from sqlalchemy_cmk import CmkError
from sqlalchemy_cmk.rekey import Progress, Rekey

# Slowly, so that there is something to see: the clinics are small.
CHUNK, RATE = 5, 60.0


@dataclass(frozen=True)
class State:
    """How far a re-encryption is.

    Attributes:
        phase: ``idle``, ``running``, ``cancelled``, ``failed`` or ``done``.
        table: the table that is worked on.
        rows: its rows that are done; ``expected``: about how many there are.
        changed: rows that were changed, of all tables.
        reason: why it failed.
    """

    phase: str = "idle"
    table: str = ""
    rows: int = 0
    expected: int = 0
    changed: int = 0
    reason: str = ""


class _Cancelled(Exception):
    """Somebody wants the run to end."""


class Reencryptions:
    """The re-encryptions of this process, one for each tenant at most."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._changed = threading.Condition()
        self._states: dict[str, State] = {}
        self._cancelled: set[str] = set()
        self._threads: dict[str, threading.Thread] = {}

    def state(self, tenant: str) -> State:
        return self._states.get(tenant, State())

    def begin(self, tenant: str) -> None:
        """Begin, or go on where a run was cancelled; does nothing while one is running."""
        with self._changed:
            if self.state(tenant).phase == "running":
                return
            self._cancelled.discard(tenant)
            self._states[tenant] = State("running")
            thread = threading.Thread(target=self._run, args=(tenant,), daemon=True)
            self._threads[tenant] = thread
        thread.start()

    def cancel(self, tenant: str) -> None:
        """Let a run end after the rows that it is at."""
        with self._changed:
            self._cancelled.add(tenant)

    def watch(self, tenant: str, pause: float = 0.5) -> Iterator[State]:
        """Give each new state, until there is none to come."""
        seen = None
        while True:
            with self._changed:
                if self.state(tenant) == seen:
                    self._changed.wait(pause)
                seen = self.state(tenant)
            yield seen
            if seen.phase != "running":
                return

    def wait(self, tenant: str) -> State:
        """Wait until a tenant's run has ended, and return how."""
        if (thread := self._threads.get(tenant)) is not None:
            thread.join()
        return self.state(tenant)

    def _run(self, tenant: str) -> None:
        rekey = Rekey(self._storage.keyring, chunk=CHUNK, rate=RATE)
        changed = 0
        try:
            with certified(self._storage, tenant, "re-encrypt"):
                for job in jobs(tenant):

                    def note(progress: Progress, table: str = job.table, before: int = changed) -> None:
                        if tenant in self._cancelled:
                            raise _Cancelled
                        rows, expected = progress.rows_read, progress.rows_expected
                        now = State("running", table, rows, expected, before + progress.rows_changed)
                        self._set(tenant, now)

                    changed += rekey.run(job, note).rows_changed
            self._set(tenant, State("done", changed=changed))
        except _Cancelled:
            self._set(tenant, replace(self.state(tenant), phase="cancelled"))
        except CmkError as error:
            self._set(tenant, replace(self.state(tenant), phase="failed", reason=type(error).__name__))

    def _set(self, tenant: str, state: State) -> None:
        with self._changed:
            self._states[tenant] = state
            self._changed.notify_all()
