"""The common base of vaults and the token issuer: injected faults and the request log."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy_cmk.testing.faults import Fault, Faults
from sqlalchemy_cmk.testing.log import RequestLog, Seen
from sqlalchemy_cmk.testing.messages import Answer, Hangup, Request


class Site(ABC):
    """A server with its own address that answers requests.

    Attributes:
        faults: the faults that its requests meet.
        requests: the requests that it has seen.
    """

    def __init__(self, faults: Faults, requests: RequestLog) -> None:
        self.faults = faults
        self.requests = requests
        self.stopping = threading.Event()

    @abstractmethod
    def respond(self, request: Request) -> Answer:
        """Answer one request, or raise :class:`Hangup`."""

    @abstractmethod
    def refusal(self, fault: Fault) -> Answer:
        """Return the answer that a fault with a status stands for."""

    def note(self, seen: Seen, work: Callable[[], Answer]) -> Answer:
        """Run the work, and log the request before its answer is sent."""
        status, inner = None, None
        try:
            answer = work()
            status = answer.status
            if isinstance(answer.body, dict) and isinstance(answer.body.get("error"), dict):
                inner = answer.body["error"].get("innererror", {}).get("code")
            return answer
        finally:
            self.requests.add(replace(seen, status=status, inner=inner))

    def meet_faults(self, operation: str, work: Callable[[], Answer]) -> Answer:
        """Run the work, or the fault that is waiting for this operation."""
        seconds, fault = self.faults.take(operation)
        if seconds:
            self.stopping.wait(seconds)
        if fault is None:
            return work()
        if fault.kind == "drop":
            raise Hangup
        if fault.kind == "half":
            return replace(work(), half=True)
        if fault.kind == "drip":
            return replace(work(), drip=fault.seconds or 0.0)
        return fault.answer or self.refusal(fault)
