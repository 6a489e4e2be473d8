"""What the key tables say, taken as it stands. See :class:`UnverifiedKeys`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, exists, func, select, true

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.model import DekState, Purpose, TenantState
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.reader import PAGE
from sqlalchemy_cmk.keys.storage.tenant_filter import EVERY, TenantFilter
from sqlalchemy_cmk.runtime.clock import as_utc
from sqlalchemy_cmk.runtime.parts import in_parts
from sqlalchemy_cmk.scope import PLATFORM_TENANT

_STATES = {state.value: state for state in TenantState}


class UnverifiedKeys:
    """Counts, lists of names, and what to look at next: no key is opened or changed because of these alone.

    Args:
        database: the database of the key tables.
    """

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database
        self._tables = database.tables

    def count(self, which: TenantFilter = EVERY) -> Counter[TenantState]:
        """Return how many tenants are stored in each state; nothing is verified."""
        state, number = self._tables.tenants.c.state, func.count()
        counted: Counter[TenantState] = Counter()
        for part in which.parts(PAGE):
            statement = select(state, number).where(*part.criteria(self._tables)).group_by(state)
            for text, found in self._rows(statement):
                counted[_STATES.get(text, TenantState.TAMPERED)] += found
        return counted

    def no_longer_active(self, dek_ids: Collection[bytes]) -> set[bytes]:
        """Return which of these DEKs are not active any more."""
        deks = self._tables.deks.c
        return {bytes(one) for one in self._among(deks.id, dek_ids, deks.state != DekState.ACTIVE)}

    def retired_ids(self) -> list[bytes]:
        """Return the ids of every tenant's retired DEKs."""
        deks = self._tables.deks.c
        return [bytes(one) for one in self._values(select(deks.id).where(deks.state == DekState.RETIRED))]

    def used_until(self, purpose: Purpose) -> datetime | None:
        """Return until when processes may use a DEK of a purpose that was retired; ``None`` if there is none.

        That is by the clock of the process that retired it.
        """
        d = self._tables.deks.c
        retired = select(func.max(d.retired_at), func.max(d.longest_use)).where(
            d.purpose == purpose, d.state == DekState.RETIRED
        )
        ((last, longest),) = self._rows(retired)
        return None if last is None else as_utc(last) + timedelta(seconds=longest)

    def settled_ids(self, *, platform: bool) -> Select[Any]:
        """Return the query of the ids of every DEK under which no row has to be re-encrypted: not retired.

        Args:
            platform: those of the platform; otherwise those of all tenants.
        """
        deks = self._tables.deks
        owned = deks.c.tenant == PLATFORM_TENANT if platform else deks.c.tenant != PLATFORM_TENANT
        return select(deks.c.id).where(deks.c.state != DekState.RETIRED, owned)

    def has_active(self, purpose: Purpose) -> bool:
        """Return whether a tenant has an active DEK of a purpose."""
        deks = self._tables.deks.c
        active = exists().where(deks.purpose == purpose, deks.state == DekState.ACTIVE)
        return bool(self._database.run(lambda c: c.scalar(select(active))))

    def shredded(self, tenants: Collection[str]) -> set[str]:
        """Return which of these tenants' keys were destroyed."""
        t = self._tables.tenants.c
        return set(self._among(t.tenant, tenants, t.state == TenantState.SHREDDED))

    def known(self, tenants: Collection[str]) -> set[str]:
        """Return which of these tenants have keys, or had."""
        t = self._tables.tenants.c
        return set(self._among(t.tenant, tenants, true()))

    def tenants_with_keys(self) -> list[str]:
        """Return the names of the tenants whose keys were not destroyed, in their order."""
        t = self._tables.tenants
        statement = select(t.c.tenant).where(t.c.state != TenantState.SHREDDED).order_by(t.c.tenant)
        return self._values(statement)

    def tenants_under(self, kek_uri: str) -> list[str]:
        """Return the names of the tenants whose DEKs a KEK wraps, in their order."""
        deks, wrappings = self._tables.deks, self._tables.wrappings
        wrapped = deks.join(wrappings, deks.c.id == wrappings.c.dek_id)
        under = select(deks.c.tenant).distinct().select_from(wrapped).where(wrappings.c.kek_uri == kek_uri)
        return self._values(under.order_by(deks.c.tenant))

    def names_from(self, first: str, limit: int) -> list[str]:
        """Return the names of tenants whose keys were not destroyed, in their order, from one on."""
        t = self._tables.tenants
        living = select(t.c.tenant).where(t.c.state != TenantState.SHREDDED, t.c.tenant >= first)
        return self._values(living.order_by(t.c.tenant).limit(limit))

    def dek_states(self) -> dict[bytes, DekState]:
        """Return the state of every DEK that exists or existed, by its id."""
        d = self._tables.deks
        rows = self._rows(select(d.c.id, d.c.state))
        known = {state.value: state for state in DekState}
        if any(state not in known for _, state in rows):
            raise TamperedError("the table of DEKs has a state that does not exist")
        return {bytes(dek_id): known[state] for dek_id, state in rows}

    def is_in_use(self, kek_uri: str) -> bool:
        """Return whether a KEK wraps any DEK."""
        wraps = exists().where(self._tables.wrappings.c.kek_uri == kek_uri)
        return bool(self._database.run(lambda c: c.scalar(select(wraps))))

    def in_use(self, kek_uris: Collection[str]) -> set[str]:
        """Return those of some KEKs that wrap any DEK."""
        uri = self._tables.wrappings.c.kek_uri
        found: set[str] = set()
        for part in in_parts(kek_uris, PAGE):
            found.update(self._values(select(uri).distinct().where(uri.in_(part))))
        return found

    def keks_in_use(self, near: str) -> Iterator[str]:
        """Return the URIs of the KEKs that wrap any DEK, read as far as they are asked for.

        Args:
            near: a KEK's URI: its neighbours come first, and once more in their order. They are most likely
                KEKs of the same provider.
        """
        uri = self._tables.wrappings.c.kek_uri
        yield from self._values(select(uri).where(uri >= near).order_by(uri).limit(1))
        yield from self._values(select(uri).where(uri < near).order_by(uri.desc()).limit(1))
        every = select(uri).distinct().order_by(uri).limit(PAGE)
        page = self._values(every)
        while page:
            yield from page
            page = self._values(every.where(uri > page[-1])) if len(page) == PAGE else []

    def is_authenticated(self) -> bool:
        """Return whether anything is authenticated by a record key."""
        t = self._tables.tenants
        return bool(self._database.run(lambda c: c.scalar(select(exists().where(t.c.manifest.is_not(None))))))

    def tenants_not_under(self, key_id: str) -> list[str]:
        """Return the names of the tenants whose manifests another record key has made, or none."""
        t = self._tables.tenants
        other = t.c.record_key.is_distinct_from(key_id)
        return self._values(select(t.c.tenant).where(other).order_by(t.c.tenant))

    def _rows(self, statement: Select[Any]) -> Sequence[Any]:
        return self._database.run(lambda c: c.execute(statement).all())

    def _values(self, statement: Select[Any]) -> list[Any]:
        return [value for (value,) in self._rows(statement)]

    def _among(
        self, column: Column[Any], values: Collection[Any], criterion: ColumnElement[bool]
    ) -> Iterator[Any]:
        """Return which of these values the rows have that meet a criterion; databases limit parameters."""
        for part in in_parts(values, PAGE):
            yield from self._values(select(column).where(column.in_(part), criterion))
