"""The keys that a flush will need, before it has a connection. See :class:`SessionKeys`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData
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
        return self._found[at]
