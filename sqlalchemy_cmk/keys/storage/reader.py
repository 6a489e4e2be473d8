"""Reads tenants' keys, and gives out none that its manifest does not prove. See :class:`KeyReader`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.events.tampering import Altered, Tampering
from sqlalchemy_cmk.keys.manifest.manifest import Manifest, Manifests
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.rows import deks_of, select_deks, select_tenants, tenant_of
from sqlalchemy_cmk.keys.storage.tenant_filter import EVERY, TenantFilter
from sqlalchemy_cmk.runtime.parts import in_parts

ATTEMPTS = 20
PAGE = 500

Found = tuple[list[Row[Any]], list[Row[Any]]]
Page = list[tuple[str, TenantKeys | TamperedError]]


class KeyReader:
    """Reads and verifies tenants' keys, and remembers the newest epoch of each that it has seen.

    Args:
        database: the database of the key tables.
        manifests: verifies what is read.
        tampering: notes what does not hold.
    """

    def __init__(self, database: KeyDatabase, manifests: Manifests, tampering: Tampering) -> None:
        self._database = database
        self._tampering = tampering
        self._manifests = manifests
        self._tables = database.tables
        self._epochs: dict[str, int] = {}

    def of(self, tenant: str) -> TenantKeys | None:
        """Return a tenant's keys, or ``None`` if it has none; takes two statements of one transaction.

        Raises:
            TamperedError: the tables do not hold what was written there.
        """
        try:
            found = self._verified(self._tables.tenants.c.tenant == tenant)
            if found is None and tenant in self._epochs:
                raise TamperedError(f"the keys of tenant {tenant!r} were removed from the table of tenants")
        except TamperedError as error:
            self._tampering.found(tenant, Altered.TABLES, str(error))
            raise
        return found

    def of_all(self, tenants: Iterable[str]) -> dict[str, TenantKeys | TamperedError | None]:
        """Return by tenant its keys, ``None`` if it has none, or what is wrong; two statements for many."""
        name = self._tables.tenants.c.tenant
        found: dict[str, TenantKeys | TamperedError | None] = {}
        for part in in_parts(tenants, PAGE):
            several = {
                one.tenant: (one, deks) for one, deks in self._several(name.in_(part), limit=len(part))
            }
            for tenant in part:
                if tenant in several:
                    found[tenant] = self._verified_or_wrong(*several[tenant])
                elif tenant in self._epochs:
                    found[tenant] = self._of_or_wrong(tenant)
                else:
                    found[tenant] = None
        return found

    def having_all(self, dek_ids: Iterable[bytes]) -> dict[bytes, TenantKeys | TamperedError | None]:
        """Return by DEK the keys of its tenant, ``None`` if there is no such DEK, or what is wrong."""
        deks = self._tables.deks.c
        found: dict[bytes, TenantKeys | TamperedError | None] = {}
        for part in in_parts(dek_ids, PAGE):
            owners = select(deks.tenant).where(deks.id.in_(part))
            found |= dict.fromkeys(part)
            for row, rows in self._several(self._tables.tenants.c.tenant.in_(owners), limit=len(part)):
                keys = self._verified_or_wrong(row, rows)
                ids = {bytes(one.id) for one in rows if isinstance(one.id, bytes | bytearray | memoryview)}
                found |= dict.fromkeys(found.keys() & ids, keys)
        return found

    def pages(self, which: TenantFilter = EVERY, size: int = PAGE) -> Iterator[Page]:
        """Return tenants' keys, or what is wrong with them, in the order of the names, page by page.

        Args:
            which: chooses the tenants, by what their rows say.
            size: how many tenants a page has, at most.
        """
        for part in which.parts(PAGE):
            found = self._several(*part.criteria(self._tables), limit=size)
            while found:
                yield [(row.tenant, self._verified_or_wrong(row, deks)) for row, deks in found]
                if len(found) < size:
                    break
                further = replace(part, after=found[-1][0].tenant)
                found = self._several(*further.criteria(self._tables), limit=size)

    def unverified(self, tenant: str) -> TenantKeys | None:
        """Return a tenant's keys as the tables hold them, proven by nothing; ``None`` if it has none."""
        tenants, rows = self._read(self._tables.tenants.c.tenant == tenant)
        return _keys(tenants[0], rows)[0] if tenants else None

    def note_epoch(self, keys: TenantKeys) -> None:
        """Remember the epoch of keys that this process has written."""
        self._epochs[keys.tenant.name] = max(self._epochs.get(keys.tenant.name, 0), keys.tenant.epoch)

    def start_anew(self) -> None:
        """Forget the epochs: this process has dropped the tables."""
        self._epochs.clear()

    def _verified_or_wrong(self, row: Row[Any], deks: list[Row[Any]]) -> TenantKeys | TamperedError:
        try:
            return self._checked(row, deks)
        except TamperedError:
            pass
        # It may have been read while the tenant's keys were changed.
        return self._of_or_wrong(row.tenant)

    def _of_or_wrong(self, tenant: str) -> TenantKeys | TamperedError:
        try:
            return self.of(tenant) or TamperedError("its keys were removed meanwhile")
        except TamperedError as error:
            return error.with_traceback(None)  # its frames would hold those of the caller, who holds it

    def _verified(self, which: ColumnElement[bool]) -> TenantKeys | None:
        """Read one tenant's keys and verify them.

        The two statements may see two states of the tables, where another process writes between them:
        what does not fit is read again, until it fits or stays as it is.
        """
        before: Found | None = None
        for attempt in count(1):
            found = tenants, deks = self._read(which)
            if not tenants:
                return None
            try:
                return self._checked(tenants[0], deks)
            except TamperedError:
                if found == before or attempt == ATTEMPTS:
                    raise
            before = found
        return None

    def _checked(self, row: Row[Any], rows: list[Row[Any]]) -> TenantKeys:
        keys, manifest = _keys(row, rows)
        self._manifests.verify(keys, manifest)
        self._refuse_going_back(keys)
        self._tampering.gone(keys.tenant.name, Altered.TABLES)
        return keys

    def _refuse_going_back(self, keys: TenantKeys) -> None:
        name, epoch = keys.tenant.name, keys.tenant.epoch
        newest = self._epochs.get(name, 0)
        if epoch < newest:
            raise TamperedError(
                f"the keys of tenant {name!r} went back from epoch {newest} to {epoch}: an old copy was put "
                "into the key tables; if you have restored a backup, restart the application"
            )
        self.note_epoch(keys)

    def _several(self, *which: ColumnElement[bool], limit: int) -> list[tuple[Row[Any], list[Row[Any]]]]:
        """Return the rows of several tenants, each with the rows of its DEKs."""
        tenants, rows = self._read(*which, limit=limit)
        deks: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in rows:
            deks[row.tenant].append(row)
        return [(row, deks[row.tenant]) for row in tenants]

    def _read(self, *which: ColumnElement[bool], limit: int = 1) -> Found:
        tenants = select_tenants(self._tables).where(*which).limit(limit)
        owner = self._tables.deks.c.tenant

        def work(connection: Connection) -> Found:
            found = _rows(connection, tenants)
            if not found:
                return [], []
            names = [row.tenant for row in found]
            owned = owner.in_(names) if len(names) > 1 else owner == names[0]
            return found, _rows(connection, select_deks(self._tables).where(owned))

        return self._database.run(work)


def _keys(row: Row[Any], rows: list[Row[Any]]) -> tuple[TenantKeys, Manifest]:
    without_deks, manifest = tenant_of(row)
    return replace(without_deks, deks=deks_of(rows)), manifest


def _rows(connection: Connection, statement: Select[Any]) -> list[Row[Any]]:
    try:
        return list(connection.execute(statement))
    except (TypeError, ValueError):  # a date or a text that the column's type cannot read
        pass
    raise TamperedError("the key tables hold a value of the wrong kind: find out who can write to them")
