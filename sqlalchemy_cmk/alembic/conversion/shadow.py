"""The shadow column of a conversion: made with its record, and taken away where another plan has left it."""

from __future__ import annotations

import logging

from alembic.operations import Operations
from sqlalchemy import column, null, table, update

from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.records import Record, Records, State
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements
from sqlalchemy_cmk.alembic.registry.write import note
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.errors import ConfigurationError

log = logging.getLogger(__name__)


class Shadow:
    """The column in which a conversion collects the new values, the trigger that empties it, and its record.

    Args:
        operations: Alembic's.
        plan: the conversion.
        statements: the database's.
    """

    def __init__(self, operations: Operations, plan: Plan, statements: ConversionStatements) -> None:
        self._operations = operations
        self._plan = plan
        self._statements = statements
        self._records = Records(operations, plan.name)

    @property
    def is_there(self) -> bool:
        """Whether the table has the column."""
        return self._plan.shadow in self._columns()

    def settle(self) -> bool:
        """Leave no conversion under way but one of this plan: a column and a record of it, or neither.

        A conversion to other values is undone; the column itself keeps its values.

        Returns:
            Whether one was undone.

        Raises:
            ConfigurationError: there is no such column, or a shadow that no conversion has recorded.
        """
        plan, record = self._plan, self._records.find()
        there = self.is_there
        if record is None and there:
            raise ConfigurationError(
                f"{plan.where}: the column {plan.shadow} is there, and no conversion is recorded that made "
                "it: look at what it holds, drop it with op.drop_column, and run the migration again"
            )
        if record is not None and not there:
            self._close(record)
            return False
        if record is not None and record.plan != plan.fingerprint:
            log.warning("%s: a conversion under way has another plan, and is undone", plan.where)
            self._statements.patiently(self._discard)
            return True
        return False

    def expand(self) -> None:
        """Make the column, its record and its trigger, as far as they are not there."""
        self._statements.patiently(self._expand)

    def _expand(self) -> None:
        plan, statements = self._plan, self._statements
        with statements.transaction():
            if not self.is_there:
                self._records.begin(plan)
                shadow = plan.new_column(plan.shadow, final=False)
                self._operations.add_column(plan.table, shadow, schema=plan.schema)
                statements.watch()
            elif not statements.watches():
                statements.watch()
                # What was copied without the trigger may be out of date.
                rows = table(plan.table, column(plan.shadow), schema=plan.schema)
                filled = rows.c[plan.shadow].is_not(None)
                self._operations.execute(update(rows).where(filled).values({plan.shadow: null()}))

    def _discard(self) -> None:
        plan = self._plan
        with self._statements.transaction():
            self._statements.unwatch()
            self._operations.drop_column(plan.table, plan.shadow, schema=plan.schema)
            self._records.end()

    def _close(self, record: Record) -> None:
        """End the record of a conversion that was killed before it made its shadow, or after the swap."""
        with self._statements.transaction():
            if record.state is State.SWAPPING:
                note(self._operations, self._plan.name, record.scheme)
            self._records.end()

    def _columns(self) -> set[str]:
        plan = self._plan
        found = reflected_columns(self._operations.get_bind(), plan.table, plan.schema)
        columns = {one["name"] for one in found}
        if plan.column not in columns:
            raise ConfigurationError(f"there is no column {plan.where}")
        return columns
