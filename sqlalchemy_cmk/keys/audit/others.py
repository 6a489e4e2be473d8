"""Who receives what is appended to the audit trail: :class:`Others`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection

from sqlalchemy_cmk.keys.audit.chain import AuditEntry


class Others(Protocol):
    """Others who receive what is appended to the trail."""

    def write(self, connection: Connection, entries: Sequence[AuditEntry]) -> None:
        """Note rows, in the transaction that appends them."""

    def committed(self, entries: Sequence[AuditEntry]) -> None:
        """Tell of rows that have been committed; must not raise."""
