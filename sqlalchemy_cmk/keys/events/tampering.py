"""Notes in the audit trail that something of a tenant's is not what was written. See :class:`Tampering`."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind

# Problems that are remembered as noted: somebody who alters rows again and again cannot fill the memory.
MOST = 1000


class Altered(Enum):
    """What was altered: each may be as it was written while another is not."""

    TABLES = "the key tables"
    ANSWER = "a KEK's answer"
    VALUE = "a sealed value"


class Tampering:
    """Notes each problem once in a process. It is written later: the caller that met it gets its own error.

    Args:
        note: appends an event to the trail, soon.
    """

    def __init__(self, note: Callable[[AuditEvent], None]) -> None:
        self._note = note
        self._noted: dict[str, dict[str, Altered]] = {}

    def found(self, tenant: str, what: Altered, problem: str) -> None:
        """Note that something of a tenant's was found altered.

        Args:
            tenant: the tenant's name.
            what: what was altered.
            problem: how that shows; it names no other tenant, for this one may read it.
        """
        noted = self._noted.get(tenant, {})
        # A value that does not open because its key is altered is no problem of its own.
        follows = what is Altered.VALUE and any(one is not what for one in list(noted.values()))
        if problem in noted or follows:
            return
        if sum(map(len, list(self._noted.values()))) >= MOST:
            self._noted = {}
        self._noted.setdefault(tenant, {})[problem] = what
        self._note(AuditEvent(EventKind.TAMPERED, tenant, detail=problem))

    def gone(self, tenant: str, what: Altered) -> None:
        """Forget a tenant's problems of one kind: this is what was written."""
        noted = self._noted.get(tenant)
        if noted:
            self._noted[tenant] = {one: of for one, of in list(noted.items()) if of is not what}
