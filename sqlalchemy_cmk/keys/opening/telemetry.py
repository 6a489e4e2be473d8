"""Spans and metrics through OpenTelemetry's API where it is installed, and nothing where it is not.

Neither names a tenant, a value, a KEK's URI or a file: they show which provider was called, how long it took,
and how it ended.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys

try:
    from opentelemetry import metrics, trace
except ImportError:
    metrics = trace = None  # type: ignore[assignment]

NAME = "sqlalchemy_cmk"


class Telemetry:
    """The instruments of one keyring.

    Args:
        opened: the opened keys, whose cache hits are observed.
        record_exceptions: whether spans record errors, whose messages name the KEK's URI and files.
    """

    def __init__(self, opened: OpenedKeys, *, record_exceptions: bool = False) -> None:
        self._record_exceptions = record_exceptions
        self._tracer = trace.get_tracer(NAME) if trace else None
        self._duration: Any = None
        self._cold: Any = None
        self._refused: Any = None
        self._outages: Any = None
        self._events: Any = None
        if metrics:
            self._make_instruments(metrics.get_meter(NAME), weakref.ref(opened))

    def cold_open(self) -> None:
        """Count a DEK that was opened and was not open in this process before."""
        if self._cold:
            self._cold.add(1)

    def key_event(self, kind: str) -> None:
        """Count a key event of a kind."""
        if self._events:
            self._events.add(1, {"cmk.event": str(kind)})

    @contextmanager
    def provider_call(self, operation: str, provider: str) -> Iterator[None]:
        """Time a call to a provider and count its outcome.

        Args:
            operation: ``wrap`` or ``unwrap``.
            provider: the name of the provider's class.
        """
        attributes = {"cmk.operation": operation, "cmk.provider": provider}
        began, outcome = time.perf_counter(), "ok"
        with self._span(operation, attributes) as span:
            try:
                yield
            except Exception as error:
                outcome = self._failed(error, attributes)
                self._note(span, error)
                raise
            finally:
                if self._duration:
                    seconds = time.perf_counter() - began
                    self._duration.record(seconds, {**attributes, "cmk.outcome": outcome})

    def _make_instruments(self, meter: Any, opened: weakref.ref[OpenedKeys]) -> None:
        def observe(_: Any) -> Iterator[Any]:
            keys = opened()
            if keys is not None:
                yield metrics.Observation(keys.hits)

        self._duration = meter.create_histogram("cmk.provider.duration", "s", "Time of a provider's call")
        self._cold = meter.create_counter("cmk.cold_opens", "{dek}", "DEKs opened that were not open")
        self._refused = meter.create_counter("cmk.revocations", "{call}", "Calls that a KEK's owner refused")
        self._outages = meter.create_counter("cmk.outages", "{call}", "Calls that did not reach a KEK")
        self._events = meter.create_counter("cmk.events", "{event}", "Key events, as callbacks have them")
        meter.create_observable_counter("cmk.cache.hits", [observe], "{dek}", "Opened DEKs that were found")

    def _failed(self, error: Exception, attributes: dict[str, str]) -> str:
        if isinstance(error, KeyRevoked):
            self._count(self._refused, attributes)
            return "revoked"
        if isinstance(error, KeyUnavailable):
            self._count(self._outages, attributes)
            return "unavailable"
        return "failed"

    def _span(self, operation: str, attributes: dict[str, str]) -> AbstractContextManager[Any]:
        if self._tracer is None:
            return nullcontext()
        # By themselves spans record the error's message and traceback, which name the KEK.
        return self._tracer.start_as_current_span(
            f"cmk.{operation}",
            attributes=attributes,
            record_exception=self._record_exceptions,
            set_status_on_exception=False,
        )

    def _note(self, span: Any, error: Exception) -> None:
        if span is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR)

    def _count(self, counter: Any, attributes: dict[str, str]) -> None:
        if counter:
            counter.add(1, attributes)
