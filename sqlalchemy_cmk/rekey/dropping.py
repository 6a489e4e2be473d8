"""Destroys retired DEKs under which no row is left, once that has been counted."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.errors import first_line
from sqlalchemy_cmk.errors import ApprovalRequired, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.keys.lifecycle.dropping import DropReport
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.tenant_filter import TenantFilter
from sqlalchemy_cmk.rekey.counting import TableCount, count_table, sealed_tables, tables_to_search
from sqlalchemy_cmk.rekey.every_row import refuse_contradicted, refuse_hidden
from sqlalchemy_cmk.rekey.searching import Findings, SnapshotTooOld, search
from sqlalchemy_cmk.runtime.clock import utc_now
from sqlalchemy_cmk.runtime.kinds import Kind, several, takes
from sqlalchemy_cmk.scope import key_owner

Rows = dict[bytes, dict[str, int]]

# How often all is read again, since tables are made and altered meanwhile.
SNAPSHOTS = 5


@takes(
    keyring=KEYRING,
    ignoring=several("a list of tables' names", str),
    connection=Kind((Connection,), "the application's Connection").or_none,
)
def drop_retired(
    keyring: Keyring,
    tenant: object | None = None,
    *,
    ignoring: Collection[str] = (),
    connection: Connection | None = None,
) -> DropReport:
    """Destroy retired DEKs under which no row is left in any protected table, nor elsewhere in the database.

    The protected tables are counted once, in full, after every transaction that was writing to them has
    ended. Every other table is searched for values under the DEKs that would be destroyed: archives, detached
    partitions, tables of the same name in other schemas. Each tenant's change is one transaction with its
    audit events.

    Args:
        keyring: it has to protect every model with sealed columns.
        tenant: one tenant; ``None`` for all.
        ignoring: tables of no model that need not open any more: ``"table"``, ``"schema.table"``, or a
            pattern as in ``"archive.*"``. A model's table is always counted, unless it is a view: of one that
            is named here only the tables behind it are.
        connection: the application's, where the database is SQLite in memory, which no other connection sees.

    Raises:
        ConfigurationError: no model is protected, a protected table is not in the database or may hide rows,
            or a table cannot be searched. Nothing is destroyed then.
        ApprovalRequired: a second person has to approve it for this tenant. Where it is for all tenants, the
            report has the requests.
        KeyUnavailable: a transaction has been writing for more than ten seconds, or tables are made and
            altered again and again.
    """
    if isinstance(ignoring, str):
        raise ConfigurationError(f"ignoring takes a list of tables: give it [{ignoring!r}]")
    if not any(sealed_tables(keyring)):
        raise ConfigurationError(
            "no sealed column can be counted: call keyring.protect(Base) with the models first"
        )
    began = utc_now()
    counted = _Count(keyring, connection, ignoring)
    dropped: list[bytes] = []
    kept: dict[bytes, str] = {}
    requested: dict[str, str] = {}
    for name in _with_retired(keyring) if tenant is None else [key_owner(tenant)]:
        try:
            report = keyring.lifecycle.drop_retired(name, counted.rows_left, as_of=began)
        except ApprovalRequired as error:
            if tenant is not None:
                raise
            requested[name] = error.request
            continue
        dropped += report.dropped
        kept |= report.kept
    return DropReport(tuple(dropped), kept, tuple(counted.sampled), requested)


def _with_retired(keyring: Keyring) -> list[str]:
    pages = keyring.store.pages(TenantFilter(with_retired=True))
    return [name for page in pages for name, keys in page if isinstance(keys, TenantKeys)]


@dataclass(slots=True)
class _Seen:
    counts: list[TableCount] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)


class _Count:
    """Counts the rows under every retired DEK at the first question, and answers the others from that."""

    def __init__(self, keyring: Keyring, connection: Connection | None, ignoring: Collection[str]) -> None:
        self._keyring = keyring
        self._connection = connection
        self._ignoring = ignoring
        self._found: Rows | None = None
        self.sampled: list[str] = []

    def rows_left(self, deks: Collection[bytes]) -> Mapping[bytes, Mapping[str, int]]:
        if self._found is None:
            retired = self._keyring.store.retired_ids()
            # Another process may have destroyed one since it was asked for: the change is planned again then.
            asked = list(dict.fromkeys([*retired, *deks]))
            try:
                self._found = self._counted(asked)
            except NoSuchTableError as error:
                problem = f"there is no table {error}"
            except DBAPIError as error:
                problem = first_line(error)
        if self._found is None:
            raise ConfigurationError(
                f"nothing was dropped, since the sealed tables cannot be counted ({problem}): bring the "
                "database to what the models declare first"
            )
        return {dek_id: self._found[dek_id] for dek_id in deks}

    def _counted(self, deks: Collection[bytes]) -> Rows:
        connections = self._keyring.connections
        if self._connection is not None:
            return self._judged(self._see(self._connection, deks), deks)
        connections.run(self._wait_for_writers)
        seen = self._seen_as_of_one_moment(deks)
        for one in seen.counts:
            refuse_contradicted(connections.run, one.table, one.rows)
        return self._judged(seen, deks)

    def _seen_as_of_one_moment(self, deks: Collection[bytes]) -> _Seen:
        connections = self._keyring.connections

        def work(connection: Connection) -> _Seen:
            # A row that moves to another table meanwhile is seen in one of them.
            connections.database.begin_snapshot(connection)
            return self._see(connection, deks)

        reason = ""
        for _ in range(SNAPSHOTS):
            try:
                return connections.run(work)
            except SnapshotTooOld as error:
                reason = str(error)
            except DBAPIError as error:
                if not connections.database.is_out_of_date(error):
                    raise
                reason = first_line(error)
        raise KeyUnavailable(
            f"nothing was dropped, since tables were made or altered while they were searched, {SNAPSHOTS} "
            f"times in a row ({reason}): try again when that has ended"
        )

    def _see(self, connection: Connection, deks: Collection[bytes]) -> _Seen:
        tables = self._tables(connection)
        counts = [count_table(connection, table, columns, deks) for table, columns in tables]
        needed = {dek_id for one in counts for dek_id, columns in one.by_dek.items() if columns}
        free = [dek_id for dek_id in deks if dek_id not in needed]
        if not free:
            return _Seen(counts)
        own = self._keyring.database.own_tables
        return _Seen(counts, search(connection, free, tables, own, self._ignoring))

    def _tables(self, connection: Connection) -> list[tuple[Table, list[str]]]:
        tables = [
            (table, columns)
            for table, columns in tables_to_search(connection, self._keyring)
            if not (table.fullname in self._ignoring and _is_view(connection, table))
        ]
        refuse_hidden(connection, (table for table, _ in tables))
        return tables

    def _judged(self, seen: _Seen, deks: Collection[bytes]) -> Rows:
        unread = seen.findings.unread
        if unread:
            name, reason = next(iter(unread.items()))
            raise ConfigurationError(
                f"nothing was dropped, since {len(unread)} tables of no model cannot be searched for values "
                f"under retired DEKs: {', '.join(unread)} ({name}: {reason}); let this role read them, or "
                "name those whose values need not open any more with ignoring= or --ignore"
            )
        self.sampled = seen.findings.sampled
        found = _by_dek(seen.counts, deks)
        for dek_id, places in seen.findings.rows.items():
            found[dek_id] |= {f"{place} (of no model: see --ignore)": rows for place, rows in places.items()}
        return found

    def _wait_for_writers(self, connection: Connection) -> None:
        tables = [table for table, _ in self._tables(connection)]
        database = database_of(connection.dialect)
        before = database.visibility.writing(connection)
        database.wait_for_writers(connection, tables)
        # An archive that is being made is seen by no query, and is not among these tables.
        patience = time.monotonic() + database.writer_seconds
        while before & database.visibility.writing(connection):
            if time.monotonic() > patience:
                raise KeyUnavailable(
                    f"a transaction has been writing to this database for {database.writer_seconds} seconds "
                    "and may copy sealed values: try again when it has ended"
                )
            time.sleep(0.15)


def _is_view(connection: Connection, table: Table) -> bool:
    return table.name in inspect(connection).get_view_names(table.schema)


def _by_dek(counts: Iterable[TableCount], deks: Collection[bytes]) -> Rows:
    found: Rows = {dek_id: {} for dek_id in deks}
    for one in counts:
        for dek_id in deks:
            for column, rows in one.by_dek[dek_id].items():
                where = f"{one.table.fullname}.{column}"
                found[dek_id][where] = found[dek_id].get(where, 0) + rows
    return found
