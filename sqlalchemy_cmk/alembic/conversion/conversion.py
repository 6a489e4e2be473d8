"""A conversion: expand, copy, swap. Each step looks at what is there: a killed migration is run again."""

from __future__ import annotations

import logging

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.alone import alone
from sqlalchemy_cmk.alembic.conversion.beforehand import look_beforehand
from sqlalchemy_cmk.alembic.conversion.owners import refuse_forgotten_tenant
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.shadow import Shadow
from sqlalchemy_cmk.alembic.conversion.standing import is_converted
from sqlalchemy_cmk.alembic.conversion.statements import statements_of
from sqlalchemy_cmk.alembic.conversion.swap import Swap
from sqlalchemy_cmk.alembic.jobs import committed, run_job
from sqlalchemy_cmk.alembic.names import printable
from sqlalchemy_cmk.alembic.registry.write import note
from sqlalchemy_cmk.databases.scrub import scrub
from sqlalchemy_cmk.errors import ConfigurationError

log = logging.getLogger(__name__)


class Conversion:
    """Turns a column's values into another form while the application runs.

    Args:
        operations: Alembic's.
        plan: the conversion.

    Raises:
        UnsupportedOperation: columns are not converted on this database.
        ConfigurationError: there is no such table.
    """

    def __init__(self, operations: Operations, plan: Plan) -> None:
        self._operations = operations
        self._plan = plan
        self._statements = statements_of(operations, plan)

    def run(self, phase: str) -> None:
        """Do a phase, or all of them, or what is left of them.

        Raises:
            ConfigurationError: the column is not what the migration takes it for, or values do not open.
        """
        plan = self._plan
        with alone(self._operations, plan.table, plan.schema):
            shadow = Shadow(self._operations, plan, self._statements)
            swap = Swap(self._operations, plan, self._statements)
            undone, underway = shadow.settle(), shadow.is_there
            if not underway and is_converted(self._operations, plan):
                log.info("%s is converted already", plan.where)
                return
            if not (underway or undone) and phase in ("copy", "swap"):
                raise ConfigurationError(f"{plan.where}: phase {phase!r} comes after phase 'expand'")
            refuse_forgotten_tenant(self._operations, plan)
            swap.check()
            if not underway:
                look_beforehand(self._operations, plan)
            shadow.expand()
            if phase in ("copy", "all"):
                run_job(self._operations, plan.job)
            if phase in ("swap", "all"):
                swap.run()

    def run_in_place(self) -> None:
        """Change sealed values where they are.

        Raises:
            ConfigurationError: values do not open.
        """
        plan = self._plan
        with alone(self._operations, plan.table, plan.schema):
            refuse_forgotten_tenant(self._operations, plan)
            Shadow(self._operations, plan, self._statements).settle()
            run_job(self._operations, plan.job_in_place)
            note(self._operations, plan.name, plan.scheme)

    def scrub(self) -> None:
        """Rewrite the table, so that what was replaced is no longer in its files, and log what stays."""
        with committed(self._operations):
            left = scrub(self._operations.get_bind(), self._plan.table, self._plan.schema)
        for sentence in left:
            log.warning("%s: %s", self._plan.where, printable(sentence))
