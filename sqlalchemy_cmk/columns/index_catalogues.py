"""What a process has seen of the indexes of each database, by the dialect of the engine that leads there.

SQL is made where only the dialect is at hand, and kept for later executions. So before each statement the
indexes are looked at, if that was some seconds ago; if they have changed, the engine's SQL is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary, ref

from sqlalchemy import Connection, Dialect, Engine, MetaData

from sqlalchemy_cmk.columns.token_columns import indexed_metadatas
from sqlalchemy_cmk.keys.binding.protection import protection_of
from sqlalchemy_cmk.keys.dry_run import dry_run_of
from sqlalchemy_cmk.keys.indexes.catalogue import CallersCatalogue, IndexCatalogue
from sqlalchemy_cmk.keys.indexes.records import NOTHING_RECORDED, IndexView
from sqlalchemy_cmk.keys.indexes.table import is_dropping
from sqlalchemy_cmk.keys.storage.callers import lending

_Found = Callable[[], IndexCatalogue | None]
_Known = tuple[int, _Found]
# With each how often the keyrings of the metadata had changed when it was found.
_known: WeakKeyDictionary[Dialect, WeakKeyDictionary[MetaData, _Known]] = WeakKeyDictionary()

# For which view of which catalogue an engine's SQL was made.
_compiled_for: WeakKeyDictionary[Engine, WeakKeyDictionary[IndexCatalogue, IndexView]] = WeakKeyDictionary()

_looking: ContextVar[bool] = ContextVar("sqlalchemy_cmk_looking", default=False)


def look_at_indexes(connection: Connection) -> None:
    """Look whether the indexes of a connection's database have changed, if nobody has for some seconds.

    Raises:
        KeyUnavailable: they cannot be read now.
    """
    if not indexed_metadatas or _looking.get():
        return
    for metadata in tuple(indexed_metadatas):
        catalogue = catalogue_on(connection, metadata)
        if catalogue is None:
            continue
        if catalogue.is_due and not is_dropping(connection):
            with _not_again(), lending(connection):
                catalogue.view()
        # Also what another engine, or a write, has found out meanwhile.
        engine, view = connection.engine, catalogue.last_view
        compiled_for = _compiled_for.get(engine)
        if compiled_for is None:
            compiled_for = _compiled_for[engine] = WeakKeyDictionary()
        if compiled_for.get(catalogue) is not view:
            compiled_for[catalogue] = view
            engine.clear_compiled_cache()


def view_of(dialect: Dialect, metadata: MetaData) -> IndexView:
    """Return the indexes of a metadata's tables as they were seen last."""
    of_dialect = _known.get(dialect)
    known = None if of_dialect is None else of_dialect.get(metadata)
    catalogue = None if known is None else known[1]()
    return NOTHING_RECORDED if catalogue is None else catalogue.last_view


def catalogue_on(connection: Connection, metadata: MetaData) -> IndexCatalogue | None:
    """Return what knows the indexes of a metadata's tables in a connection's database.

    ``None`` if no keyring serves it, on a keyring's own connections, and in a dry run.
    """
    protection = protection_of(metadata)
    of_dialect = _known.get(connection.dialect)
    if of_dialect is None:
        of_dialect = _known[connection.dialect] = WeakKeyDictionary()
    known = of_dialect.get(metadata)
    if known is None or known[0] != protection.changes:
        changes = protection.changes
        known = of_dialect[metadata] = changes, _found(connection, metadata)
    return known[1]()


def _found(connection: Connection, metadata: MetaData) -> _Found:
    protection = protection_of(metadata)
    own = any(keys.connections.owns(connection.engine) for keys in protection.engine_keys())
    if own or dry_run_of(metadata) is not None:
        return _nothing
    with _not_again():
        keys = protection.of_connection(connection)
    if keys is None:
        return _nothing
    if any(one.engines.reads_only(connection.engine) for one in protection):
        # A replica is behind: what it has of the indexes goes with what it has of the rows.
        of_replica = CallersCatalogue(keys.database, keys.clock)
        return lambda: of_replica
    return ref(keys.indexes)


def _nothing() -> None:
    """Return no catalogue."""


@contextmanager
def _not_again() -> Iterator[None]:
    """Have statements that a look sends itself look at nothing."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)
