"""Which tenants are read from the key tables, as a criterion in SQL. See :class:`TenantFilter`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, select

from sqlalchemy_cmk.keys.model import DekState, TenantState
from sqlalchemy_cmk.keys.storage.tables import KeyTables


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants are read; each part that is given narrows it.

    It asks the rows as they stand, before any manifest is verified: a row that was altered may be missing.

    Attributes:
        names: their names.
        state: the state that is stored.
        kek_uri: a KEK that wraps any of their DEKs, or is to wrap their first.
        after: only tenants whose names come later, in the database's order.
        with_retired: only tenants that have retired DEKs.
    """

    names: tuple[str, ...] | None = None
    state: TenantState | None = None
    kek_uri: str | None = None
    after: str | None = None
    with_retired: bool = False

    def in_any_state(self) -> TenantFilter:
        """Return this filter without its state."""
        return replace(self, state=None)

    def parts(self, size: int) -> Iterator[TenantFilter]:
        """Return this filter in parts that name at most so many tenants: databases limit parameters."""
        if self.names is None or len(self.names) <= size:
            yield self
            return
        names = sorted(set(self.names))
        for start in range(0, len(names), size):
            yield replace(self, names=tuple(names[start : start + size]))

    def criteria(self, tables: KeyTables) -> Iterator[ColumnElement[bool]]:
        """Return the criteria for a query of the table of tenants."""
        tenants, deks, wrappings = tables.tenants.c, tables.deks.c, tables.wrappings
        if self.names is not None:
            yield tenants.tenant.in_(self.names)
        if self.state is not None:
            yield tenants.state == self.state
        if self.kek_uri is not None:
            wrapped = select(deks.tenant).join(wrappings, wrappings.c.dek_id == deks.id)
            under = select(tenants.tenant).where(tenants.kek_uri == self.kek_uri)
            yield tenants.tenant.in_(under.union(wrapped.where(wrappings.c.kek_uri == self.kek_uri)))
        if self.after is not None:
            yield tenants.tenant > self.after
        if self.with_retired:
            yield tenants.tenant.in_(select(deks.tenant).where(deks.state == DekState.RETIRED))


EVERY = TenantFilter()
