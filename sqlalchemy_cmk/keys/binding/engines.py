"""The engines of one keyring, each with the keys of its database. See :class:`Engines`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import Connection, Engine

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys, sync_engine
from sqlalchemy_cmk.keys.binding.places import is_same_database, shown
from sqlalchemy_cmk.keys.binding.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

NOT_BOUND = (
    "this keyring serves no engine: call keyring.init_engine(engine), or under Flask "
    "CMK(keyring=keyring).init_app(app) of sqlalchemy_cmk.flask"
)

Choice = Callable[[], "Engine | AsyncEngine | None"]


class Engines:
    """Finds the keys that serve an engine or a connection.

    Engines are held weakly once they keep the keyring themselves, except the one that came last: a keyring
    may be all that an application keeps.

    Args:
        settings: the keyring's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bound: list[ref[EngineKeys]] = []
        self._held: list[EngineKeys] = []
        # Every engine that was asked about: those bound, their copies, and others to the same database.
        self._known: WeakKeyDictionary[Engine, ref[EngineKeys]] = WeakKeyDictionary()
        self._replicas: WeakSet[Engine] = WeakSet()
        self._choices: list[Choice] = []

    def bind(self, engine: Engine | AsyncEngine) -> None:
        """Serve an engine."""
        if self.of_engine(sync_engine(engine)) is None:
            keys = EngineKeys(engine, self._settings)
            self._held.append(keys)
            self._bound.append(ref(keys))
            self._known[sync_engine(engine)] = ref(keys)

    def belong(self, keyring: object) -> None:
        """Let each engine keep its keys and the keyring."""
        for keys in self._held:
            keys.belong(keyring)
        self._held = self._held[-1:]

    def add_replica(self, replica: Engine | AsyncEngine, primary: Engine | AsyncEngine) -> None:
        """Serve an engine that reads a copy of another's database, with that one's keys."""
        self._known[sync_engine(replica)] = ref(self.require(primary))
        self._replicas.add(sync_engine(replica))

    def all(self) -> list[EngineKeys]:
        """Return the keys of each engine that is there, in the order in which they were bound."""
        found = [(one, keys) for one in self._bound if (keys := one()) is not None]
        self._bound = [one for one, _ in found]
        return [keys for _, keys in found]

    def choose_by(self, choice: Choice) -> None:
        """Let a function say which engine a call is about where none is named.

        Args:
            choice: returns the engine; ``None`` if it does not know.
        """
        if choice not in self._choices:
            self._choices.append(choice)

    def chosen(self) -> EngineKeys:
        """Return the keys of the engine that a call is about: as a function says, or of the only one.

        Raises:
            ConfigurationError: nothing says which, and there is none, or there are several.
        """
        for choice in self._choices:
            engine = choice()
            found = None if engine is None else self.of_engine(sync_engine(engine))
            if found is not None:
                return found
        return self.only()

    def only(self) -> EngineKeys:
        """Return the keys of the only engine.

        Raises:
            ConfigurationError: there is none, or there are several.
        """
        found = self.all()
        if len(found) == 1:
            return found[0]
        if not found:
            raise ConfigurationError(NOT_BOUND)
        raise ConfigurationError(
            f"this keyring serves {len(found)} engines ({_listed(found)}): say whose keys are meant, as in "
            "keyring.for_engine(engine).assign(...)"
        )

    def require(self, engine: Engine | AsyncEngine) -> EngineKeys:
        """Return the keys of an engine.

        Raises:
            ConfigurationError: it is not served.
        """
        found = self.of_engine(sync_engine(engine))
        if found is None:
            raise ConfigurationError(
                f"this keyring does not serve the engine to {shown(sync_engine(engine).url)}: "
                "call keyring.init_engine(engine) first"
            )
        return found

    def require_connection(self, connection: Connection) -> EngineKeys:
        """Return the keys of a connection's database.

        Raises:
            ConfigurationError: it is not served, or not proven to be.
        """
        found = self.of_connection(connection)
        if found is None:
            raise ConfigurationError(mismatch(connection.engine, self.all()))
        return found

    def of_engine(self, engine: Engine) -> EngineKeys | None:
        """Return the keys of an engine, or of the engine that it is a copy of; ``None`` if it is unknown."""
        known = self._known.get(engine)
        if known is not None:
            return known()
        for other, keys in list(self._known.items()):
            if other.pool is engine.pool:  # what engine.execution_options() returns shares it
                self._known[engine] = keys
                if other in self._replicas:
                    self._replicas.add(engine)
                return keys()
        return None

    def of_connection(self, connection: Connection) -> EngineKeys | None:
        """Return the keys of a connection's database; ``None`` if it is not proven to be served.

        An engine that was not bound is looked at once: the database itself is asked whether it is one of
        those that are served. The keyring's own are not asked, since their pools may have no connection left.
        """
        found = self.of_engine(connection.engine)
        if found is None:
            served = self.all()
            own = (keys for keys in served if keys.connections.owns(connection.engine))
            others = (keys for keys in served if is_same_database(connection, keys))
            found = next(own, None) or next(others, None)
            if found is not None:
                self._known[connection.engine] = ref(found)
        return found

    def reads_only(self, engine: Engine) -> bool:
        """Return whether an engine was given as a replica."""
        return engine in self._replicas

    def close(self) -> None:
        """Close the keys of every engine."""
        for keys in self.all():
            keys.close()


def mismatch(engine: Engine, served: Sequence[EngineKeys]) -> str:
    """Return what is wrong where an engine leads to no database that is served, and what to do."""
    if not served:
        return NOT_BOUND
    return (
        f"this connection leads to {shown(engine.url)}, and the keyring keeps its keys in {_listed(served)}: "
        "rows and the keys that open them belong in one database. Bind the session to the keyring's engine, "
        "or let the keyring serve this one too: keyring.init_engine(engine), with replica_of=... if it reads "
        "a copy"
    )


def _listed(engines: Sequence[EngineKeys]) -> str:
    return ", ".join(shown(keys.connections.url) for keys in engines)
