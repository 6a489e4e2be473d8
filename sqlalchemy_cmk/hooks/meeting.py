"""Has keyrings know a connection's database before a statement is sent to it.

An engine that a keyring has not seen is asked where it leads. While a driver streams rows, as MariaDB's do, a
second statement on its connection would throw away those that are left.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import ClauseElement, Connection, Engine, Table
from sqlalchemy.engine.interfaces import Compiled

from sqlalchemy_cmk.hooks.unsupported.parts import parts_of
from sqlalchemy_cmk.keys.binding.protection import INFO_KEY, protection_of

_met: WeakKeyDictionary[Compiled, WeakSet[Engine]] = WeakKeyDictionary()


def meet_database(connection: Connection, compiled: Compiled) -> None:
    """Ask a connection's database where it is, unless a statement has been sent there before."""
    engines = _met.setdefault(compiled, WeakSet())
    if connection.engine in engines or not isinstance(compiled.statement, ClauseElement):
        return
    tables = (one for one in parts_of(compiled) if isinstance(one, Table))
    for metadata in {table.metadata for table in tables if INFO_KEY in table.metadata.info}:
        protection_of(metadata).of_connection(connection)
    engines.add(connection.engine)
