"""Audit events as they happen, to ``logging`` and OpenTelemetry, so that they can leave the machine.

What an event names came from databases, vaults and users. It is written out so that it fits in one line and
cannot pretend to be another field.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy_cmk.keys.audit.chain import AuditEntry, Stamped
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.runtime.printable import printable

try:
    from opentelemetry import _logs as otel
except ImportError:
    otel = None  # type: ignore[assignment]

NAME = "sqlalchemy_cmk.audit"

logger = logging.getLogger(NAME)

# Somebody should look at these; the others are the usual course of things.
_FOR_SOMEBODY = frozenset(
    {
        EventKind.REVOKED,
        EventKind.UNAVAILABLE,
        EventKind.RIDE_OUT,
        EventKind.EXPIRING,
        EventKind.EXPIRED,
        EventKind.TAMPERED,
        EventKind.TRAIL_BROKEN,
    }
)

# The logs API is not stable yet. Where it takes no event's name it is another one, and logging stays.
_EXPORTS = otel is not None and "event_name" in inspect.signature(otel.Logger.emit).parameters
_MESSAGE = "%s tenant=%s dek_id=%s kek_uri=%s kek_version=%s actor=%s origin=%s detail=%s"


def emit(event: Stamped, entry: AuditEntry | None = None) -> None:
    """Tell the application's log handlers and OpenTelemetry of an event.

    A handler that fails changes nothing for the caller: the event has happened.

    Args:
        event: the event.
        entry: its row of the trail, if it has one already.
    """
    level = logging.WARNING if event.what.event in _FOR_SOMEBODY else logging.INFO
    fields = _fields(event, entry)
    what = event.what
    named = (what.tenant, what.dek_id, what.kek_uri, what.kek_version, event.actor, event.origin, what.detail)
    # An application's handlers, filters and exporters may raise anything.
    with suppress(Exception):
        logger.log(
            level,
            _MESSAGE,
            str(what.event),
            *(repr(str(one)) for one in named),
            extra={f"cmk_{name}": value for name, value in fields.items()},
        )
    if _EXPORTS and not _is_bridged(level):
        with suppress(Exception):
            _export(level, event, fields)


def one_line(text: str) -> str:
    """Return a text with its backslashes, line breaks and control characters written out."""
    return printable(text.replace("\\", "\\\\"))


def _fields(event: Stamped, entry: AuditEntry | None) -> dict[str, str | int]:
    what = event.what
    fields: dict[str, str | int] = {
        "event": str(what.event),
        "at": event.at,
        "tenant": one_line(what.tenant),
        "dek_id": one_line(what.dek_id),
        "kek_uri": one_line(what.kek_uri),
        "kek_version": one_line(what.kek_version),
        "actor": one_line(event.actor),
        "origin": one_line(event.origin),
        "detail": one_line(what.detail),
    }
    if entry is not None:
        fields |= {"seq": entry.seq, "hash": entry.hash}
    return fields


def _export(level: int, event: Stamped, fields: dict[str, str | int]) -> None:
    severity: Any = otel.SeverityNumber.WARN if level == logging.WARNING else otel.SeverityNumber.INFO
    body = " ".join(f"{name}={value!r}" for name, value in fields.items())
    otel.get_logger(NAME).emit(
        timestamp=int(datetime.fromisoformat(event.at).timestamp() * 1e9),
        severity_number=severity,
        severity_text=severity.name,
        event_name=f"cmk.audit.{event.what.event}",
        body=body,
        attributes={f"cmk.audit.{name}": value for name, value in fields.items()},
    )


def _is_bridged(level: int) -> bool:
    """Return whether a handler of OpenTelemetry's has the log record already, so that none is sent twice."""
    if not logger.isEnabledFor(level):
        return False
    return any(
        one.level <= level and any(kind.__module__.startswith("opentelemetry.") for kind in type(one).__mro__)
        for one in _handlers()
    )


def _handlers() -> Iterator[logging.Handler]:
    at: logging.Logger | None = logger
    while at is not None:
        yield from at.handlers
        at = at.parent if at.propagate else None
