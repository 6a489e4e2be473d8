"""Faults that a test injects: delays, throttling, server errors, broken connections, foreign answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy_cmk.testing.messages import Answer

Kind = Literal["delay", "throttle", "fail", "drop", "half", "drip", "foreign"]


@dataclass
class Fault:
    """A fault that is waiting for requests."""

    kind: Kind
    left: int | None
    only: frozenset[str]
    status: int = 0
    seconds: float | None = None
    answer: Answer | None = None

    def meets(self, operation: str) -> bool:
        """Return whether a request for this operation meets the fault."""
        return self.left != 0 and (not self.only or operation in self.only)


class Faults:
    """The faults of one vault, or of the token issuer.

    Each fault applies to ``times`` requests, or to every request until :meth:`clear`. ``only`` names the
    operations to which it applies, such as ``["unwrapKey"]``. Only requests with a valid token count, so that
    the challenge before the first of them does not use a fault up; :meth:`down` applies to all. A delay
    combines with another fault; of several others the earliest applies.
    """

    def __init__(self, listen: Callable[[bool], None]) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._listen = listen

    def delay(self, seconds: float, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Delay the answer by ``seconds``."""
        self._add(Fault("delay", times, frozenset(only), seconds=seconds))

    def throttle(
        self, retry_after: float | None = 1, times: int | None = None, only: Iterable[str] = ()
    ) -> None:
        """Answer 429, with ``Retry-After`` unless that is ``None``; the request is not carried out."""
        self._add(Fault("throttle", times, frozenset(only), status=429, seconds=retry_after))

    def fail(self, status: int = 503, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Answer with a server error; the request is not carried out."""
        if not 500 <= status <= 599:
            raise ValueError(f"{status} is not a server error (500 to 599)")
        self._add(Fault("fail", times, frozenset(only), status=status))

    def drop(self, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Reset the connection without an answer; the request is not carried out."""
        self._add(Fault("drop", times, frozenset(only)))

    def half_answer(self, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Carry the request out, but break the connection in the middle of the answer's body."""
        self._add(Fault("half", times, frozenset(only)))

    def drip(self, seconds: float = 1, times: int | None = None, only: Iterable[str] = ()) -> None:
        """Carry the request out, but send the answer's body one byte at a time, each after ``seconds``."""
        self._add(Fault("drip", times, frozenset(only), seconds=seconds))

    def foreign_answer(
        self,
        status: int,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
        only: Iterable[str] = (),
    ) -> None:
        """Answer as something other than a vault does: a gateway, a proxy, a sign-in page.

        The request is not carried out.

        Args:
            status: the HTTP status.
            body: what is sent: bytes or text as they are, anything else as JSON, ``None`` for no body.
            headers: further headers.
            times: how many requests meet it.
            only: the operations that meet it.
        """
        raw = body.encode() if isinstance(body, str) else body
        self._add(Fault("foreign", times, frozenset(only), answer=Answer(status, raw, headers or {})))

    def redirect(
        self, location: str, status: int = 302, times: int | None = None, only: Iterable[str] = ()
    ) -> None:
        """Answer that what was asked for is elsewhere, at the address ``location``."""
        self.foreign_answer(status, None, {"Location": location}, times, only)

    def down(self) -> None:
        """Break every connection and refuse new ones, until :meth:`clear`."""
        self._listen(False)

    def clear(self) -> None:
        """Remove every fault."""
        with self._lock:
            self._faults.clear()
        self._listen(True)

    def take(self, operation: str) -> tuple[float, Fault | None]:
        """Return the delay and the fault that apply to a request for this operation, and use them up."""
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
