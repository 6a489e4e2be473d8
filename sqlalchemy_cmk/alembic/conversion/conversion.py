"""A conversion: expand, copy, swap. Each step looks at what is there: a killed migration is run again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

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
from sqlalchemy_cmk.alembic.registry.write import note
from sqlalchemy_cmk.databases.scrub import scrub
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey import Job
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)


def convert(operations: Operations, plans: Sequence[Plan], phase: str) -> None:
    """Do a phase of the conversions of one table's columns, or all of them, or what is left of them.

    Each column has a shadow and a swap of its own; what is left to copy is copied in one pass.

    Args:
        operations: Alembic's.
        plans: the conversions, whose rows name their tenant and themselves in one way.
        phase: which part is done, or ``"all"``.

    Raises:
        UnsupportedOperation: columns are not converted on this database.
        ConfigurationError: a column is not what the migration takes it for, or values do not open.
    """
    with alone(operations, plans[0].table, plans[0].schema):
        underway = [one for one in (_Conversion(operations, plan) for plan in plans) if one.begin(phase)]
        if underway and phase in ("copy", "all"):
            run_job(operations, _together([one.plan.job for one in underway]))
        if phase in ("swap", "all"):
            for one in underway:
                one.swap()


def _together(jobs: Sequence[Job]) -> Job:
    """Return the job that does some jobs of one table in one pass."""
    # Only those of row-bound values name the columns of the row identity.
    complete = next((one for one in jobs if one.row_columns), jobs[0])
    return replace(complete, moves=tuple(move for one in jobs for move in one.moves))


def convert_in_place(operations: Operations, plan: Plan) -> None:
    """Change sealed values where they are.

    Raises:
        ConfigurationError: values do not open.
    """
    with alone(operations, plan.table, plan.schema):
        refuse_forgotten_tenant(operations, plan)
        Shadow(operations, plan, statements_of(operations, plan)).settle()
        run_job(operations, plan.job_in_place)
        note(operations, plan.name, plan.scheme)


def scrub_table(operations: Operations, plan: Plan) -> None:
    """Rewrite a table, so that what was replaced is no longer in its files, and log what stays."""
    with committed(operations):
        left = scrub(operations.get_bind(), plan.table, plan.schema)
    for sentence in left:
        log.warning("%s: %s", printable(plan.fullname), printable(sentence))


class _Conversion:
    """The conversion of one column."""

    def __init__(self, operations: Operations, plan: Plan) -> None:
        self._operations = operations
        self.plan = plan
        self._statements = statements_of(operations, plan)

    def begin(self, phase: str) -> bool:
        """Make the shadow, and return whether there is anything to convert.

        Raises:
            ConfigurationError: the column is not what the migration takes it for.
        """
        plan = self.plan
        shadow = Shadow(self._operations, plan, self._statements)
        undone, underway = shadow.settle(), shadow.is_there
        if not underway and is_converted(self._operations, plan):
            log.info("%s is converted already", plan.where)
            return False
        if not (underway or undone) and phase in ("copy", "swap"):
            raise ConfigurationError(f"{plan.where}: phase {phase!r} comes after phase 'expand'")
        refuse_forgotten_tenant(self._operations, plan)
        self._swap.check()
        if not underway:
            look_beforehand(self._operations, plan)
        shadow.expand()
        return True

    def swap(self) -> None:
        """Copy what is left, verify every row, and put the shadow in the column's place."""
        self._swap.run()

    @property
    def _swap(self) -> Swap:
        return Swap(self._operations, self.plan, self._statements)
