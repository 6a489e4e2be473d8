"""Statements of SQL text: read once, and sealed for each execution. See :class:`Statements`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Dialect

from sqlalchemy_cmk.columns.index_catalogues import look_at_indexes
from sqlalchemy_cmk.databases.sql_text import lexis_of
from sqlalchemy_cmk.dbapi.asking import ask_indexes
from sqlalchemy_cmk.dbapi.comparing import owner_of, seal_compared
from sqlalchemy_cmk.dbapi.inserting import seal_insert
from sqlalchemy_cmk.dbapi.parameters import Values, WrongParameters
from sqlalchemy_cmk.dbapi.results import ResultOpener
from sqlalchemy_cmk.dbapi.updating import Ask, UpdateSealer
from sqlalchemy_cmk.keys.storage.callers import lending
from sqlalchemy_cmk.sql import Plan, Schema, read_statement

MAX_KEPT = 1000

_STYLES = {"qmark": "question", "named": "question", "numeric_dollar": "dollar"}


@dataclass(frozen=True, slots=True)
class Known:
    """A statement that names a protected table.

    Attributes:
        plan: what has to be done.
        opener: opens what it returns.
    """

    plan: Plan
    opener: ResultOpener


@dataclass(frozen=True, slots=True)
class Sent:
    """One execution, as the driver is given it.

    Attributes:
        statement: the text.
        parameters: its parameters; for ``executemany`` one set for each execution.
        values: those of the first execution, for what is returned; ``None`` if nothing is.
    """

    statement: str
    parameters: Any
    values: Values | None = None


class Statements:
    """Reads and seals the statements that are written for one kind of driver.

    Args:
        schema: the tables.
        dialect: of the database and its driver.
    """

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        self.schema = schema
        self._dialect = dialect
        self._lexis = lexis_of(dialect)
        self._style = _STYLES.get(dialect.paramstyle, "percent")
        self._kept: dict[str, Known | None] = {}
        self._lock = Lock()

    def known(self, statement: str) -> Known | None:
        """Return what is known of a statement; ``None`` if it names no protected table.

        Raises:
            UnsupportedOperation: it is not understood, or would misuse a sealed column.
        """
        schema = self.schema.current()
        if schema is not self.schema:
            with self._lock:
                self.schema, self._kept = schema, {}
        try:
            return self._kept[statement]
        except KeyError:
            pass
        found = None
        if self.schema.may_concern(statement):
            plan = read_statement(statement, self._lexis, self._style, self.schema)
            if plan is not None:
                found = Known(plan, ResultOpener(plan.outputs, self._dialect))
                found.opener.refuse_unbound()
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[statement] = found
        return found

    def seal(self, connection: Connection, known: Known, statement: str, given: Any, ask: Ask) -> Sent:
        """Return one execution with all that it writes and compares sealed.

        Args:
            connection: where it runs.
            known: the statement.
            statement: its text.
            given: its parameters, as the caller gave them.
            ask: runs a query on the caller's connection.

        Raises:
            CmkError: as the ORM does for the same statement.
        """
        try:
            values = Values(known.plan, given)
        except WrongParameters:
            return Sent(statement, _emptied(given))
        plan = known.plan
        look_at_indexes(connection)
        with lending(connection):
            seal_compared(connection, plan, values)
            ask_indexes(connection, plan, values, owner_of)
            if plan.inserted is not None:
                text, sets = seal_insert(connection, plan, plan.inserted, [values])
                return Sent(text, sets[0], values)
            if plan.updated is not None:
                text, sent = UpdateSealer(connection, plan, plan.updated, ask).sealed(values)
                return Sent(text, sent, values)
        if plan.asked:
            text, keys = plan.text.written(0, len(plan.text.parsed), values.edits)
            return Sent(text, values.listed(keys), values)
        if not plan.compared:
            return Sent(statement, given, values)
        return Sent(_text(plan, statement), _as_given(values, given), values)

    def seal_many(
        self, connection: Connection, known: Known, statement: str, every: Sequence[Any]
    ) -> Sent | None:
        """Return a statement for many sets sealed; ``None`` for what is executed set by set.

        Args:
            connection: where it runs.
            known: the statement.
            statement: its text.
            every: the parameters of each execution.
        """
        plan = known.plan
        if plan.updated is not None or plan.asked:
            return None
        if not every or not (plan.inserted or plan.compared):
            return Sent(statement, every)
        try:
            sets = [Values(plan, given) for given in every]
        except WrongParameters:
            return Sent(statement, [_emptied(given) for given in every])
        look_at_indexes(connection)
        with lending(connection):
            for values in sets:
                seal_compared(connection, plan, values)
            if plan.inserted is not None:
                text, sent = seal_insert(connection, plan, plan.inserted, sets)
                return Sent(text, sent)
        sent = [_as_given(values, given) for values, given in zip(sets, every, strict=True)]
        return Sent(_text(plan, statement), sent)


def _text(plan: Plan, statement: str) -> str:
    return plan.text.written(0, len(plan.text.parsed))[0] if plan.text.is_changed else statement


def _as_given(values: Values, given: Any) -> Any:
    """Return values in the form in which they were given."""
    return values.known if isinstance(given, Mapping) else tuple(values.known.values())


def _emptied(given: Any) -> Any:
    """Return parameters that the driver will refuse, without what they hold."""
    if isinstance(given, Mapping):
        return dict.fromkeys(given)
    return None if given is None else (None,) * len(given)
