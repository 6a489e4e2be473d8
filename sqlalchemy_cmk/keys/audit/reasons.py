"""Changes of keys for which the application wants a reason."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.runtime import because

# Their reason is an argument of their own, and their detail.
_SAY_IT_THEMSELVES = (EventKind.LOCK, EventKind.UNLOCK)


def require(reason_for: frozenset[EventKind], events: Iterable[AuditEvent]) -> None:
    """Refuse events of which nobody has said why.

    Args:
        reason_for: the kinds of events that need a reason.
        events: those of a change that is not made yet.

    Raises:
        ConfigurationError: a reason is missing.
    """
    if because.current() is not None:
        return
    for event in events:
        said = event.event in _SAY_IT_THEMSELVES and event.detail
        if event.event in reason_for and not said:
            raise ConfigurationError(
                f"{event.event} needs a reason here, and nothing was changed: put it into "
                'with keyring.because("..."), or give cmk --because'
            )
