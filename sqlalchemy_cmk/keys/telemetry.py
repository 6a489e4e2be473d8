"""Spans and metrics through OpenTelemetry's API, where it is installed; nothing where it is not.

Neither names a tenant or a value: they say which provider was asked, how long it took, and how it ended.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.opened import OpenedKeys

try:
    from opentelemetry import metrics, trace
except ImportError:
    metrics = trace = None  # type: ignore[assignment]

NAME = "sqlalchemy_cmk"


class Telemetry:
    """The instruments of one keyring.

    Args:
        opened: the opened keys, whose hits are observed for as long as they live.
    """

    def __init__(self, opened: OpenedKeys) -> None:
        self._tracer = trace.get_tracer(NAME) if trace else None
        self._duration: Any = None
        self._cold: Any = None
        self._refused: Any = None
        self._outages: Any = None
        if metrics:
            self._make_instruments(metrics.get_meter(NAME), weakref.ref(opened))

    def cold_open(self) -> None:
        """Count a DEK that was opened and had not been open here."""
        if self._cold:
            self._cold.add(1)

    @contextmanager
    def provider_call(self, operation: str, provider: str) -> Iterator[None]:
        """Time one call to a provider, and count how it ended.

        Args:
            operation: ``wrap`` or ``unwrap``.
            provider: the provider's class.
        """
        attributes = {"cmk.operation": operation, "cmk.provider": provider}
        began, outcome = time.perf_counter(), "ok"
        with self._span(operation, attributes):
            try:
                yield
            except KeyRevoked:
                outcome = "revoked"
                self._count(self._refused, attributes)
                raise
            except KeyUnavailable:
                outcome = "unavailable"
                self._count(self._outages, attributes)
                raise
            except Exception:
                outcome = "failed"
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
        meter.create_observable_counter("cmk.cache.hits", [observe], "{dek}", "Opened DEKs that were found")

    def _span(self, operation: str, attributes: dict[str, str]) -> AbstractContextManager[object]:
        if self._tracer is None:
            return nullcontext()
        return self._tracer.start_as_current_span(f"cmk.{operation}", attributes=attributes)

    def _count(self, counter: Any, attributes: dict[str, str]) -> None:
        if counter:
            counter.add(1, attributes)
