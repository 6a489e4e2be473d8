"""What a step of an index's life works with: keyring, connection, patience. See :class:`IndexWork`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from sqlalchemy_cmk.databases import Database, database_of
from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.indexes import records
from sqlalchemy_cmk.keys.indexes.catalogue import IndexCatalogue
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex
from sqlalchemy_cmk.keys.lifecycle.dropping import CLOCKS_APART
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.report import Report
from sqlalchemy_cmk.runtime.blocking import pause
from sqlalchemy_cmk.runtime.clock import utc_now

POLL_SECONDS = 0.2
RunJob = Callable[[Job], Report]


class IndexWork:
    """Takes the steps of indexes, on one connection.

    Args:
        keyring: opens the DEKs, and has the table of indexes.
        connection: in AUTOCOMMIT, of an account that may alter the table.
        run: runs a job of re-keying, and raises where values are left.
        is_new: whether the table was made just now, so that no process can have been writing it.
    """

    def __init__(
        self, keyring: Keyring, connection: Connection, run: RunJob, *, is_new: bool = False
    ) -> None:
        self.keyring = keyring
        self.connection = connection
        self.run = run
        self._is_new = is_new

    @property
    def catalogue(self) -> IndexCatalogue:
        """The table of indexes."""
        return self.keyring.indexes

    @property
    def database(self) -> Database:
        """What is known of the database."""
        return database_of(self.connection.dialect)

    @contextmanager
    def alone(self, spec: IndexSpec) -> Iterator[None]:
        """Run the block while nobody else works on the table's indexes, or converts its columns."""
        name = f"conversion of {spec.fullname}"
        while (release := self.database.hold(self.connection, name)) is None:
            pause(POLL_SECONDS)
        try:
            yield
        finally:
            with suppress(DBAPIError, PendingRollbackError):  # the connection is lost, and its lock with it
                release()

    def recorded(self, spec: IndexSpec) -> list[StoredIndex]:
        """Return the hidden columns of an index that are recorded.

        Raises:
            ConfigurationError: they hold tokens of an index with other options.
        """
        found = spec.of_this(self.catalogue.stored())
        for one in found:
            if one.state.is_written and one.fingerprint != spec.fingerprint:
                raise ConfigurationError(
                    f"{one.where} holds tokens of an index {one.name!r} with other options, or of a column "
                    "with another type, context or owner: drop it first, or give the new one another name"
                )
        return found

    def record(self, *stored: StoredIndex) -> None:
        """Record hidden columns, all at once."""
        self._in_key_tables(lambda connection: self.catalogue.record(connection, stored))

    def erase(self, stored: StoredIndex) -> None:
        """Record a hidden column no more."""
        self._in_key_tables(lambda connection: self.catalogue.erase(connection, stored))

    def change(self, *steps: tuple[StoredIndex, IndexState]) -> None:
        """Record that hidden columns have come into other states, all at once.

        Raises:
            ConfigurationError: one is not as it was.
        """

        def work(connection: Connection) -> None:
            for stored, state in steps:
                if not self.catalogue.change(connection, stored, state):
                    raise ConfigurationError(f"{stored.where}: somebody else works on it: run this again")

        self._in_key_tables(work)

    def settle(self) -> None:
        """Wait until every process has seen what was recorded, and has ended what it began before."""
        if not self._is_new:
            pause(records.SETTLED_AFTER)

    def require_settled(self, purpose: Purpose) -> None:
        """Refuse to have tokens made while processes may use different DEKs of one tenant and purpose.

        Raises:
            KeyUnavailable: DEKs of this purpose were retired a short time ago.
        """
        used_until = self.keyring.store.used_until(purpose)
        if used_until is None or utc_now() >= (until := used_until + timedelta(seconds=CLOCKS_APART)):
            return
        raise KeyUnavailable(
            f"the DEKs of purpose {purpose} were retired a short time ago, and processes may make tokens "
            f"under them until {until.isoformat(timespec='seconds')}: run this again after that"
        )

    def wait_for_writers(self, spec: IndexSpec) -> None:
        """Wait until every transaction that writes to the table now has ended.

        Raises:
            KeyUnavailable: one has been writing for more than ten seconds.
        """
        table = Table(spec.table, MetaData(), schema=spec.schema)
        self.keyring.connections.run(
            lambda connection: database_of(connection.dialect).wait_for_writers(connection, [table])
        )

    def _in_key_tables(self, work: Callable[[Connection], None]) -> None:
        self.keyring.database.run(work)
