"""A dry run: nothing is sealed, and what sealing would refuse is noted instead of raised.

A ``MetaData`` is in a dry run from the moment that such a keyring protects it, and stays so until the process
ends: statements compiled meanwhile know its columns by their plain types.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, MetaData, column, inspect, select, table

from sqlalchemy_cmk.errors import CmkError, ConfigurationError
from sqlalchemy_cmk.runtime.places import Place, calling_place

log = logging.getLogger(__name__)

INFO_KEY = "sqlalchemy_cmk.dry_run"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that sealing would refuse.

    Attributes:
        place: the application's line that asked for it; ``None`` for what is declared, not executed.
        message: the error that it would be.
        index: what would answer it, as an option of ``EncryptedType``; ``None`` if nothing does.
    """

    place: Place | None
    message: str
    index: str | None = None

    def __str__(self) -> str:
        answered = f"\n    answered by {self.index}" if self.index else ""
        return f"{self.place or 'declared'}: {self.message}{answered}"


class DryRun:
    """Collects what sealing would refuse, each once for each place.

    Args:
        table_prefix: the prefix of the key tables' names.
    """

    def __init__(self, table_prefix: str = "cmk_") -> None:
        self._prefix = table_prefix
        self._lock = Lock()
        self._noted: dict[tuple[Place | None, str], Refusal] = {}
        self._looked_at: WeakSet[Engine] = WeakSet()
        self._metadatas: WeakSet[MetaData] = WeakSet()
        self._said = False

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What was noted so far: what is declared first, then by file and line."""
        with self._lock:
            noted = list(self._noted.values())
        return tuple(sorted(noted, key=lambda one: (one.place or Place("", 0), one.message)))

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what the block refuses, and go on."""
        try:
            yield
        except CmkError as error:
            self.note(error)

    def note(self, error: CmkError, place: Place | None = None) -> None:
        """Note one refusal; without a place that of the statement under way."""
        place = place or calling_place()
        self.add(Refusal(place, str(error), getattr(error, "index", None)))

    def add(self, refusal: Refusal) -> None:
        """Add a refusal, unless the same is noted of its place."""
        with self._lock:
            known = self._noted.get((refusal.place, refusal.message))
            if known is None or known.index is None:
                self._noted[refusal.place, refusal.message] = refusal

    def take_in(self, metadata: MetaData) -> None:
        """Take in a metadata; say once, and loudly, that nothing is sealed."""
        self._metadatas.add(metadata)
        if not self._said:
            self._said = True
            log.warning(
                "DRY RUN: NOTHING IS SEALED. Columns declared as EncryptedType hold plain text; what sealing "
                "would refuse is noted"
            )

    def refuse_sealed(self, connection: Connection) -> None:
        """Refuse a database in which values may be sealed, before a statement is sent to it.

        Raises:
            ConfigurationError: tenants have keys there, or a migration has sealed a column of these tables.
        """
        if connection.engine in self._looked_at:
            return
        there = inspect(connection)
        keys, columns = f"{self._prefix}deks", f"{self._prefix}columns"
        found = ""
        any_key: Any = select(column("id")).select_from(table(keys)).limit(1)
        if there.has_table(keys) and connection.execute(any_key).first():
            found = f"{keys} has keys, so values are sealed there"
        elif there.has_table(columns):
            name = table(columns, column("schema_name"), column("table_name"))
            sealed = {(row[0] or None, row[1]) for row in connection.execute(select(name))}
            tables = [one for metadata in self._metadatas for one in metadata.tables.values()]
            ours = [one.fullname for one in tables if (one.schema, one.name) in sealed]
            found = f"a migration has sealed columns of {', '.join(sorted(ours))}" if ours else ""
        if found:
            raise ConfigurationError(
                f"a dry run would read and write plain values in a database with sealed ones: {found}. Use "
                "an empty database, such as that of a test suite, or a Keyring without dry_run"
            )
        self._looked_at.add(connection.engine)


_everywhere: DryRun | None = None
_under_way: WeakSet[MetaData] = WeakSet()


def run_dry() -> DryRun:
    """Make every keyring that this process makes from now on a dry run, and return what they note.

    For test runners. There is no setting of the environment for it, which might be left on.
    """
    global _everywhere
    _everywhere = _everywhere or DryRun()
    return _everywhere


def dry_run_for(wanted: bool, table_prefix: str) -> DryRun | None:
    """Return the dry run of a new keyring; ``None`` if it seals."""
    return _everywhere or (DryRun(table_prefix) if wanted else None)


def noting_everywhere() -> AbstractContextManager[None]:
    """Return a block whose refusals are noted if this whole process runs dry, and raised otherwise."""
    return nullcontext() if _everywhere is None else _everywhere.noting()


def begin(metadata: MetaData, dry_run: DryRun | None) -> None:
    """Have a metadata's columns sealed, or taken into a dry run.

    Raises:
        ConfigurationError: this process has protected it the other way before.
    """
    if (metadata.info.get(INFO_KEY, dry_run) is None) is not (dry_run is None):
        raise ConfigurationError(
            "this process has protected this metadata with dry_run and without: statements compiled for the "
            "one would be sent for the other. Start another process, or use another MetaData"
        )
    metadata.info[INFO_KEY] = dry_run
    if dry_run is not None:
        _under_way.add(metadata)
        dry_run.take_in(metadata)


def is_under_way() -> bool:
    """Return whether this process has any dry run: statements are looked at for one only then."""
    return bool(_under_way)


def metadatas_under_way() -> list[MetaData]:
    """Return every metadata that is in a dry run."""
    return list(_under_way)


def dry_run_of(metadata: MetaData) -> DryRun | None:
    """Return the dry run that a metadata is in; ``None`` if its columns are sealed."""
    return metadata.info.get(INFO_KEY)


def noting(metadata: MetaData) -> AbstractContextManager[None]:
    """Return a block whose refusals are noted in a dry run, and raised otherwise."""
    dry_run = dry_run_of(metadata)
    return nullcontext() if dry_run is None else dry_run.noting()
