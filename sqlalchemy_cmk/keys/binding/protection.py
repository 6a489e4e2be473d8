"""The keyrings that protect a ``MetaData``, and which of them serves a connection: :class:`Protection`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn
from weakref import ref

from sqlalchemy import Connection, Engine, MetaData, Table, event

from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.binding.engines import NOT_BOUND, mismatch
from sqlalchemy_cmk.keys.binding.places import shown
from sqlalchemy_cmk.keys.declarations import refuse_wrong_declarations

if TYPE_CHECKING:
    from sqlalchemy_cmk.keys.keyring import Keyring

logger = logging.getLogger("sqlalchemy_cmk.keys")

INFO_KEY = "sqlalchemy_cmk.keyring"


class Protection:
    """The keyrings of one ``MetaData``. Where several serve a database, the newest does.

    They are held weakly: a keyring that nobody has closed, and whose engine is gone, is in nobody's way.

    Attributes:
        changes: how often a keyring has begun or ceased to serve it, or served another engine.
    """

    def __init__(self) -> None:
        self._keyrings: list[ref[Keyring]] = []
        self.changes = 0

    def __iter__(self) -> Iterator[Keyring]:
        """Return the keyrings, the newest first."""
        return iter(self.keyrings)

    @property
    def keyrings(self) -> list[Keyring]:
        """The keyrings, the newest first."""
        return [keyring for one in self._keyrings if (keyring := one()) is not None]

    def add(self, keyring: Keyring) -> None:
        """Let a keyring serve the metadata."""
        self._keyrings = [ref(one) for one in (keyring, *(one for one in self if one is not keyring))]
        self.changes += 1

    def remove(self, keyring: Keyring) -> None:
        """Let a keyring serve the metadata no more."""
        self._keyrings = [ref(one) for one in self if one is not keyring]
        self.changes += 1

    def of_engine(self, engine: Engine) -> EngineKeys | None:
        """Return the keys that serve an engine; ``None`` if its database has to be asked."""
        for one in self._keyrings:
            keyring = one()
            keys = None if keyring is None else keyring.engines.of_engine(engine)
            if keys is not None:
                return keys
        return None

    def of_connection(self, connection: Connection) -> EngineKeys | None:
        """Return the keys that serve a connection's database; ``None`` if none are proven to."""
        found = self.of_engine(connection.engine)
        if found is None:
            found = next((keys for one in self if (keys := one.engines.of_connection(connection))), None)
        return found

    def engine_keys(self) -> list[EngineKeys]:
        """Return the keys of every engine that is served."""
        return [keys for keyring in self for keys in keyring.engines.all()]


def protection_of(metadata: MetaData) -> Protection:
    """Return the keyrings that protect a metadata."""
    found = metadata.info.get(INFO_KEY)
    return found if isinstance(found, Protection) else metadata.info.setdefault(INFO_KEY, Protection())


def keyrings_of(metadata: MetaData) -> list[Keyring]:
    """Return the keyrings that protect a metadata, the newest first."""
    return protection_of(metadata).keyrings


def keys_for(connection: Connection, table: Table, where: str, *, writes: bool = False) -> EngineKeys:
    """Return the keys of a connection's own database, for the values of a table.

    Args:
        connection: the connection on which a statement runs.
        table: the table.
        where: what needs the keys, for messages.
        writes: whether values are to be written.

    Raises:
        ConfigurationError: no keyring protects the table's metadata, or none serves the database that the
            connection leads to; or the table is declared wrongly.
        UnsupportedOperation: values are to be written through the engine of a replica.
    """
    protection = protection_of(table.metadata)
    keys = protection.of_connection(connection)
    if keys is None:
        _refuse(protection, connection.engine, where)
    refuse_wrong_declarations(table.metadata, table)
    if writes and any(one.engines.reads_only(connection.engine) for one in protection):
        raise UnsupportedOperation(
            f"{where}: {shown(connection.engine.url)} was given as a replica, which is only read: "
            "write through the primary's engine"
        )
    return keys


def known_keys(engine: Engine, table: Table) -> EngineKeys | None:
    """Return the keys that serve an engine; ``None`` where :func:`keys_for` needs a connection to tell."""
    return protection_of(table.metadata).of_engine(engine)


def only_keys(table: Table, where: str) -> EngineKeys:
    """Return the keys for values of a table whose connection is not known.

    Raises:
        ConfigurationError: no keyring protects the table's metadata, or several databases are served.
    """
    found = protection_of(table.metadata).engine_keys()
    if len(found) > 1:
        raise ConfigurationError(
            f"{where}: keys of {len(found)} databases are open, and the value does not say which it is from: "
            "select the column itself"
        )
    if not found:
        _refuse(protection_of(table.metadata), None, where)
    refuse_wrong_declarations(table.metadata, table)
    return found[0]


def serve(keyring: Keyring, metadata: MetaData) -> None:
    """Have a keyring serve a metadata on its engines, in place of the earlier keyrings of any of them.

    Those let go: a test suite that closes none would keep the connections of all of them open.
    """
    protection_of(metadata).add(keyring)
    keyring.engines.belong(keyring)
    engines = [engine for keys in keyring.engines.all() if (engine := keys.engine()) is not None]
    for other in protection_of(metadata):
        for engine in () if other is keyring else engines:
            keys = other.engines.of_engine(engine)
            if keys is not None and keys.engine() is engine:
                logger.warning("another keyring now serves %s: close() the one before", shown(engine.url))
                keys.step_back(forsaken=other.protected == (metadata,))


def forget_when_dropped(tenants: Table) -> None:
    """Have keys forgotten when this process drops their tables by the metadata: ``drop_all`` in a test suite.

    What others do to the tables is tampering.

    Args:
        tenants: the table of tenants in a protected metadata.
    """
    if not event.contains(tenants, "after_drop", _dropped):
        event.listen(tenants, "after_drop", _dropped)


def _dropped(tenants: Table, connection: Connection, **_: object) -> None:
    for keyring in protection_of(tenants.metadata) if isinstance(connection, Connection) else ():
        keys = keyring.engines.of_connection(connection)
        if keys is not None:
            keys.start_anew()


def _refuse(protection: Protection, engine: Engine | None, where: str) -> NoReturn:
    served = protection.engine_keys()
    if not protection.keyrings:
        raise ConfigurationError(
            f"{where}: no keyring protects this metadata: call keyring.protect(Base) first"
        )
    if not served or engine is None:
        raise ConfigurationError(f"{where}: {NOT_BOUND}")
    raise ConfigurationError(f"{where}: {mismatch(engine, served)}")
