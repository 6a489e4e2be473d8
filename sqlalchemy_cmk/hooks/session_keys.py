"""The keys that a flush will need, before it has a connection. See :class:`SessionKeys`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, MetaData
from sqlalchemy.orm import Mapper, Session

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.binding.protection import known_keys


class SessionKeys:
    """Finds the keys of the databases to which a session sends the rows of mapped classes, each once.

    Args:
        session: the session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[tuple[Mapper[Any], MetaData], EngineKeys] = {}
        self._mappers: dict[EngineKeys, Mapper[Any]] = {}

    def of(self, mapper: Mapper[Any], column: SealedColumn) -> EngineKeys:
        """Return the keys for a column of a mapped class; raises as :func:`keys_for` does."""
        base = mapper.base_mapper
        at = base, column.table.metadata
        if at not in self._found:
            bind = self._session.get_bind(base)
            # A connection is taken only for an engine that was never seen: keys may have to be waited for.
            keys = known_keys(bind.engine, column.table)
            self._found[at] = keys or column.keys_on(
                self._session.connection(bind_arguments={"mapper": base})
            )
            self._mappers[self._found[at]] = base
        return self._found[at]

    def connection(self, keys: EngineKeys) -> Connection | None:
        """Return the connection of these keys' rows, if the session's transaction is under way."""
        if not (self._session.in_transaction() and keys.database.has_one_writer):
            return None
        return self._session.connection(bind_arguments={"mapper": self._mappers[keys]})
