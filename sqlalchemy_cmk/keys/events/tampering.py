"""Notes in the audit trail that a tenant's keys are not those that were written. See :class:`Tampering`."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind

# What is remembered as noted: somebody who alters rows again and again cannot fill the memory.
MOST = 1000


class Tampering:
    """Notes each tampering once in a process. Writing it is for later: whoever met it has its own error.

    Args:
        note: appends an event to the trail, soon.
    """

    def __init__(self, note: Callable[[AuditEvent], None]) -> None:
        self._note = note
        self._noted: dict[str, str] = {}

    def found(self, tenant: str, error: TamperedError, kek_uri: str = "") -> None:
        """Note that a tenant's keys were found altered."""
        problem = str(error)
        if self._noted.get(tenant) == problem:
            return
        if len(self._noted) >= MOST:
            self._noted.clear()
        self._noted[tenant] = problem
        self._note(AuditEvent(EventKind.TAMPERED, tenant, kek_uri=kek_uri, detail=problem))

    def gone(self, tenant: str) -> None:
        """Forget a tenant's: its keys are those that were written."""
        if self._noted:
            self._noted.pop(tenant, None)
