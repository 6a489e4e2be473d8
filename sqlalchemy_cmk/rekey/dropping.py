"""Destroying retired DEKs under which no row is left, once that has been counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.dropping import DropReport
from sqlalchemy_cmk.keys.model import DekState, TenantState
from sqlalchemy_cmk.rekey.barrier import await_writers
from sqlalchemy_cmk.rekey.conflicts import first_line
from sqlalchemy_cmk.rekey.counting import rows_under, sealed_tables, tables_to_search
from sqlalchemy_cmk.scope import key_owner


def drop_retired(
    keyring: Keyring, tenant: object | None = None, *, connection: Connection | None = None
) -> DropReport:
    """Destroy retired DEKs under which no row is left in any protected table.

    The tables are counted once, in full, after every transaction that was writing to them has ended. Each
    tenant's change is one transaction with its audit events.

    Args:
        keyring: it has to have been given every model with sealed columns: a table that it does not know is
            not counted.
        tenant: one tenant; all without it.
        connection: the application's, where the database is SQLite in memory, which no other sees.

    Raises:
        ConfigurationError: no model is protected, or a protected table is not in the database. Nothing is
            destroyed then.
    """
    if not any(sealed_tables(keyring)):
        raise ConfigurationError(
            "no sealed column can be counted: call keyring.protect(Base) with the models first"
        )
    began = datetime.now(UTC)
    counted = _Count(keyring, connection)
    dropped: list[bytes] = []
    kept: dict[bytes, str] = {}
    for name in _with_retired(keyring) if tenant is None else [key_owner(tenant)]:
        report = keyring.lifecycle.drop_retired(name, counted.rows_left, as_of=began)
        dropped += report.dropped
        kept |= report.kept
    return DropReport(tuple(dropped), kept)


def _with_retired(keyring: Keyring) -> list[str]:
    return [
        line.tenant for line in keyring.status() if line.retired and line.state is not TenantState.SHREDDED
    ]


class _Count:
    """Counts the rows under every retired DEK at the first question, and answers the others from that."""

    def __init__(self, keyring: Keyring, connection: Connection | None) -> None:
        self._keyring = keyring
        self._connection = connection
        self._found: Mapping[bytes, Mapping[str, int]] | None = None

    def rows_left(self, deks: Collection[bytes]) -> Mapping[bytes, Mapping[str, int]]:
        if self._found is None:
            states = self._keyring.examination.dek_states()
            retired = [dek_id for dek_id, state in states.items() if state is DekState.RETIRED]
            try:
                self._found = self._counted(retired)
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

    def _counted(self, deks: Collection[bytes]) -> Mapping[bytes, Mapping[str, int]]:
        keyring = self._keyring
        if self._connection is not None:
            return rows_under(self._connection, keyring, deks)
        keyring.connections.run(
            lambda c: await_writers(c, [table for table, _ in tables_to_search(c, keyring)])
        )

        def work(connection: Connection) -> Mapping[bytes, Mapping[str, int]]:
            _take_snapshot(connection)
            return rows_under(connection, keyring, deks)

        return keyring.connections.run(work)


def _take_snapshot(connection: Connection) -> None:
    """Have all tables counted as of one moment: a row that moves to another table is seen in one of them."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
