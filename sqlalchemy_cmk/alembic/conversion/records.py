"""Records which conversions are under way: what each shadow column holds, and for which plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from alembic.operations import Operations
from sqlalchemy import ColumnElement, delete, exists, insert, inspect, select, update

from sqlalchemy_cmk.alembic.configuration import conversions_table
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.registry.read import key_of, no_table
from sqlalchemy_cmk.errors import ConfigurationError


class State(Enum):
    """How far a conversion has come."""

    COPYING = "copying"
    SWAPPING = "swapping"


@dataclass(frozen=True, slots=True)
class Record:
    """A conversion under way.

    Attributes:
        plan: the fingerprint of its plan.
        state: how far it has come.
        scheme: how the column is sealed afterwards, as in the table of sealed columns; ``None`` for plain.
    """

    plan: str
    state: State
    scheme: str | None


class Records:
    """Reads and writes the record of one column's conversion, on the migration's connection.

    Args:
        operations: Alembic's.
        name: the column.
    """

    def __init__(self, operations: Operations, name: ColumnName) -> None:
        self._operations = operations
        self._table = conversions_table(operations.migration_context)
        self._key = key_of(name)
        self._same = [self._table.c[part] == value for part, value in self._key.items()]

    def find(self) -> Record | None:
        """Return the record, if the column is being converted.

        Raises:
            ConfigurationError: there is no table of conversions, or the row holds what no migration wrote.
        """
        bind = self._operations.get_bind()
        if not inspect(bind).has_table(self._table.name):
            raise ConfigurationError(no_table(self._table.name))
        row = bind.execute(select(self._table).where(*self._same)).first()
        if row is None:
            return None
        try:
            return Record(row.plan, State(row.state), row.scheme)
        except ValueError:
            pass
        raise ConfigurationError(
            f"the table {self._table.name} does not say how far a conversion has come: correct its column "
            "state"
        )

    def begin(self, plan: Plan) -> None:
        """Record a conversion; in the transaction that makes the shadow, or before it."""
        values = {"plan": plan.fingerprint, "state": State.COPYING.value, "scheme": plan.scheme}
        self.end()
        self._operations.execute(insert(self._table).values(**self._key, **values))

    def note(self, state: State, only_if: ColumnElement[bool] | None = None) -> None:
        """Record how far the conversion has come, if there is one, and if a condition holds."""
        conditions = [] if only_if is None else [only_if]
        change = update(self._table).where(*self._same, *conditions).values(state=state.value)
        self._operations.execute(change)

    def end(self, only_in: State | None = None) -> None:
        """Delete the record; if a state is given, only a record in that state."""
        states = [] if only_in is None else [self._table.c.state == only_in.value]
        self._operations.execute(delete(self._table).where(*self._same, *states))

    def is_in(self, state: State) -> ColumnElement[bool]:
        """Return the condition that there is a record in a state, for other statements."""
        return exists().where(*self._same, self._table.c.state == state.value)
