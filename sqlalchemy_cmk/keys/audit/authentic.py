"""Rows of the audit trail, one by one, as far as they are authentic. See :class:`AuthenticRows`."""

from __future__ import annotations

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.audit.authentication import Authentication, Authenticity, Checker
from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.rows import TrailRows
from sqlalchemy_cmk.keys.audit.verification import DOUBTS


class AuthenticRows:
    """Reads rows of the trail and gives out none that the record key has not made.

    Without record keys a row's own hash is all that is checked.

    Args:
        rows: the rows.
        authentication: checks their MACs.

    Every method raises :class:`KeyUnavailable` when the tables or the record key cannot be reached now.
    """

    def __init__(self, rows: TrailRows, authentication: Authentication) -> None:
        self._rows = rows
        self._authentication = authentication

    def row(self, seq: int) -> AuditEntry:
        """Return a row.

        Raises:
            TamperedError: there is none of this number, or it is not authentic.
        """
        entry = self._rows.row(seq)
        doubt = "it is not there" if entry is None else self._doubt(entry)
        if entry is None or doubt:
            raise TamperedError(f"row {seq} of the audit trail is not authentic: {doubt}")
        return entry

    def of_kind(self, tenant: str, kind: EventKind) -> list[AuditEntry]:
        """Return a tenant's authentic rows of one kind, oldest first."""
        return [one for one in self._rows.of_kind(tenant, kind) if not self._doubt(one)]

    def _doubt(self, entry: AuditEntry) -> str:
        if entry.computed_hash() != entry.hash:
            return "it was changed"
        if not self._authentication.possible:
            return ""
        checker = self._authentication.checker()
        authenticity = checker.row(entry)
        if authenticity is Authenticity.UNKNOWN_KEY and self._is_vouched_for(entry, checker):
            return ""
        return "" if authenticity is Authenticity.AUTHENTIC else DOUBTS[authenticity]

    def _is_vouched_for(self, entry: AuditEntry, checker: Checker) -> bool:
        """Return whether a later row is authentic to which a row of a dropped record key is chained."""
        before = entry
        for one in self._rows.after(entry.seq):
            linked = (one.seq, one.previous) == (before.seq + 1, before.hash)
            if not linked or one.computed_hash() != one.hash:
                return False
            authenticity = checker.row(one)
            if authenticity is not Authenticity.UNKNOWN_KEY:
                return authenticity is Authenticity.AUTHENTIC
            before = one
        return False
