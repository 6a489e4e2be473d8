"""Who has caused an event, when, where and why: the stamp that it gets before it is chained."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy_cmk.keys.audit.chain import AuditEvent, Stamped
from sqlalchemy_cmk.runtime import because
from sqlalchemy_cmk.runtime.clock import utc_now

MAX_NAME = 200
MAX_DETAIL = 500


class Stamp:
    """Stamps events with the time, the actor, the process, and what somebody has said why.

    Args:
        actor: the acting user, or a function that returns it; ``None`` for the user that the process runs as.
    """

    def __init__(self, actor: str | Callable[[], str] | None) -> None:
        self._actor = actor

    def actor(self) -> str:
        """Return who acts now."""
        why = because.current()
        actor = "" if why is None else why.actor
        actor = actor or (self._actor() if callable(self._actor) else self._actor or _user())
        return actor[:MAX_NAME]

    def on(self, event: AuditEvent) -> Stamped:
        """Return an event with its stamp."""
        origin = f"{socket.gethostname()} process {os.getpid()}"
        at = utc_now().isoformat(timespec="microseconds")
        return Stamped(at, self.actor(), origin[:MAX_NAME], _with_reason(event, because.current()))


def _with_reason(event: AuditEvent, why: because.Because | None) -> AuditEvent:
    reason = "" if why is None else f"{'; ' if event.detail else ''}because: {why.reason}"
    detail = event.detail[: MAX_DETAIL - len(reason)] + reason
    return event if detail == event.detail else replace(event, detail=detail)


def _user() -> str:
    """Return the process's user; not by the environment, where everybody can write another name."""
    try:
        import pwd
    except ImportError:  # Windows
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
