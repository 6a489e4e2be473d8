"""``transparent``: an engine whose ``text()`` and ``exec_driver_sql`` seal and open as the ORM does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, MetaData, Table, TextClause, event
from sqlalchemy.ext.asyncio import AsyncEngine

from sqlalchemy_cmk.dbapi.fetching import OpeningCursor
from sqlalchemy_cmk.dbapi.statements import Known, Sent, Statements
from sqlalchemy_cmk.dbapi.updating import asker
from sqlalchemy_cmk.dbapi.wrapping import schema_of
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.hooks.redaction import hidden_tokens, redact_rows
from sqlalchemy_cmk.hooks.unsupported.parts import parts_of
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.keys.raw_sql import OPTION
from sqlalchemy_cmk.runtime.blocking import on_the_bridge
from sqlalchemy_cmk.runtime.kinds import takes

AnyEngine = TypeVar("AnyEngine", Engine, AsyncEngine)

# By which messages of its connections begin, and are told from those of the engine itself.
LABEL = "sealed text"


@takes(keyring=KEYRING)
def transparent(engine: AnyEngine, keyring: Keyring) -> AnyEngine:
    """Return an engine over the same connections, on which SQL text seals and opens.

    SQL text in ``text()`` and ``exec_driver_sql`` over tables with sealed columns is interpreted with the
    models. What is not understood for certain is refused, and the error says what to write instead.
    Everything else works as on the engine itself; ``text(...).columns(Model.column)`` opens these columns as
    always.

    Args:
        engine: an engine that the keyring serves, sync or async.
        keyring: the keyring.

    Raises:
        ConfigurationError: the keyring does not serve the engine, or protects no tables.
    """
    keyring.for_engine(engine)
    if not keyring.protected:
        raise ConfigurationError("this keyring protects no tables: call keyring.protect(Base) first")
    made = engine.execution_options(**{OPTION: "transparent", "logging_token": LABEL})
    # In a dry run values are stored as they are.
    text = _Text(keyring.protected if keyring.dry_run is None else ())
    sync = made.sync_engine if isinstance(made, AsyncEngine) else made
    event.listen(sync, "before_cursor_execute", text.before, retval=True)
    event.listen(sync, "after_cursor_execute", text.after)
    return made


class _Text:
    """Seals and opens the statements of one engine that were sent as text.

    Args:
        protected: what the keyring protects.
    """

    def __init__(self, protected: Sequence[MetaData]) -> None:
        self._protected = protected
        self._statements: tuple[Statements, ...] | None = None
        self._asking = False
        self._foreign: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
        self._sent: WeakKeyDictionary[Any, tuple[Known, Sent]] = WeakKeyDictionary()

    def before(
        self,
        connection: Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> tuple[str, Any]:
        """Seal what a statement writes and compares."""
        if self._asking or not self._is_text(context):
            return statement, parameters
        found = [(one, known) for one in self._on(connection) if (known := one.known(statement)) is not None]
        if not found:
            return statement, parameters
        if len(found) > 1:
            raise UnsupportedOperation("SQL text over tables of two MetaData: write a statement for each")
        statements, known = found[0]
        if executemany:
            many = statements.seal_many(connection, known, statement, parameters)
            if many is None:
                raise UnsupportedOperation(
                    "an UPDATE of sealed columns in SQL text with many sets of parameters: execute each"
                )
            return many.statement, many.parameters
        sent = statements.seal(connection, known, statement, parameters, asker(connection))
        if known.opener.returns_sealed:
            self._hide_rows(connection)
            self._sent[context] = known, sent
        return sent.statement, sent.parameters

    def after(
        self,
        connection: Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> None:
        """Have the rows of a result opened as they are fetched."""
        known, sent = self._sent.pop(context, (None, None))
        if known is None or sent is None or sent.values is None or cursor.description is None:
            return
        opener = known.opener.on(connection, [one[0] for one in cursor.description], sent.values)
        if opener is not None:
            context.cursor = opening = OpeningCursor(cursor, opener)
            if on_the_bridge() and not context.execution_options.get("stream_results"):
                opening.read_all()  # afterwards no key can be opened

    def _hide_rows(self, connection: Connection) -> None:
        """Keep the connection's rows out of ``echo="debug"``, by the token that its messages begin with."""
        token = connection.get_execution_options().get("logging_token")
        if not token:
            raise UnsupportedOperation(
                "an engine that opens SQL text has a logging_token, by which its rows are kept out of logs: "
                "give the connection one"
            )
        hidden_tokens.add(str(token))
        redact_rows(connection.engine)

    def _is_text(self, context: Any) -> bool:
        """Return whether the hooks know nothing of a statement: a text, or over tables of another metadata.

        pandas declares tables of its own, to write to those that are there.
        """
        compiled = getattr(context, "compiled", None)
        if compiled is None or isinstance(compiled.statement, TextClause):
            return True
        found = self._foreign.get(compiled)
        if found is None:
            tables = [one for one in parts_of(compiled) if isinstance(one, Table)]
            tables += [one for one in (getattr(compiled.statement, "table", None),) if isinstance(one, Table)]
            own = any(one.metadata in self._protected for one in tables)
            found = self._foreign[compiled] = bool(tables) and not own
        return found

    def _on(self, connection: Connection) -> tuple[Statements, ...]:
        if self._statements is None:
            self._asking = True
            try:
                schemas = [schema_of(one, connection) for one in self._protected]
            finally:
                self._asking = False
            self._statements = tuple(Statements(one, connection.dialect) for one in schemas)
        return self._statements
