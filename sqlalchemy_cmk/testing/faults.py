"""Faults on demand: what networks and busy services do, at a test's word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["delay", "throttle", "fail", "drop", "half"]


@dataclass
class Fault:
    """One fault that waits for requests."""

    kind: Kind
    left: int | None
    only: frozenset[str]
    status: int = 0
    seconds: float | None = None

    def meets(self, operation: str) -> bool:
        """Tell whether a request for this operation meets the fault."""
        return self.left != 0 and (not self.only or operation in self.only)


class Faults:
    """The faults of one vault, or of the token issuer.

    Each fault meets ``times`` requests, or every request until :meth:`clear`. ``only`` names the
    operations that it meets, such as ``["unwrapKey"]``. Only requests with a valid token count, so that the
    challenge before the first of them uses none up; :meth:`down` is for all. A delay goes together
    with another fault; of two others the earlier one comes first.
    """

    def __init__(self, listen: Callable[[bool], None]) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._listen = listen

    def delay(self, seconds: float, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Wait before the work is done."""
        self._add(Fault("delay", times, frozenset(only), seconds=seconds))

    def throttle(
        self, retry_after: float | None = 1, times: int | None = None, only: Iterable[str] = ()
    ) -> None:
        """Answer 429, with ``Retry-After`` unless that is ``None``; nothing is done."""
        self._add(Fault("throttle", times, frozenset(only), status=429, seconds=retry_after))

    def fail(self, status: int = 503, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Answer with a server error; nothing is done."""
        if not 500 <= status <= 599:
            raise ValueError(f"{status} is not a server error (500 to 599)")
        self._add(Fault("fail", times, frozenset(only), status=status))

    def drop(self, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Reset the connection before there is an answer; nothing is done."""
        self._add(Fault("drop", times, frozenset(only)))

    def half_answer(self, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Do the work, but break the connection in the middle of the answer's body."""
        self._add(Fault("half", times, frozenset(only)))

    def down(self) -> None:
        """Break every connection and refuse new ones, until :meth:`clear`."""
        self._listen(False)

    def clear(self) -> None:
        """Take every fault away."""
        with self._lock:
            self._faults.clear()
        self._listen(True)

    def take(self, operation: str) -> tuple[float, Fault | None]:
        """Return the delay and the fault that a request for this operation meets."""
        with self._lock:
            delays = [fault for fault in self._faults if fault.kind == "delay" and fault.meets(operation)]
            others = [fault for fault in self._faults if fault.kind != "delay" and fault.meets(operation)]
            met = delays + others[:1]
            for fault in met:
                if fault.left is not None:
                    fault.left -= 1
            self._faults = [fault for fault in self._faults if fault.left != 0]
        return sum(fault.seconds or 0 for fault in delays), (others[0] if others else None)

    def _add(self, fault: Fault) -> None:
        if fault.left is not None and fault.left < 1:
            raise ValueError("times must be 1 or more")
        with self._lock:
            self._faults.append(fault)
