"""The swap: the shadow takes the column's place, once it holds the value of every row."""

from __future__ import annotations

import logging
from functools import partial

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.catalogue import Structure, structure_of
from sqlalchemy_cmk.alembic.conversion.every_row import refuse_uncounted
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.records import Records, State
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements
from sqlalchemy_cmk.alembic.conversion.verification import Verification
from sqlalchemy_cmk.alembic.jobs import run_job
from sqlalchemy_cmk.alembic.registry.write import note
from sqlalchemy_cmk.errors import ConfigurationError

log = logging.getLogger(__name__)

ATTEMPTS = 10


class Swap:
    """Puts a shadow in its column's place.

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

    def check(self) -> Structure:
        """Return what depends on the column, once it is known that all of it comes back.

        Raises:
            ConfigurationError: something would not come back.
        """
        return structure_of(self._operations, self._plan)

    def run(self) -> None:
        """Copy the last rows, verify all of them, and swap.

        Raises:
            ConfigurationError: others write the table, or hold it, for too long.
            TamperedError: a value does not come back as it was.
        """
        refuse_uncounted(self._operations, self._plan)
        verification = Verification(self._operations, self._plan)
        for left in reversed(range(ATTEMPTS)):
            run_job(self._operations, self._plan.job)
            if verification.ahead():
                run_job(self._operations, self._plan.job)
            if self._statements.patiently(partial(self._swapped, verification, however_long=not left)):
                log.info("%s is converted", self._plan.where)
                return
        raise ConfigurationError(
            f"{self._plan.where}: others write it faster than it is copied; run the migration again later"
        )

    def _swapped(self, verification: Verification, *, however_long: bool) -> bool:
        """Swap, if the shadow holds the value of every row by then."""
        statements, swapped = self._statements, False
        if not statements.is_transactional:
            self._records.note(State.SWAPPING)
        try:
            with statements.transaction():
                statements.lock()
                if not verification.finish(self._operations.get_bind(), however_long=however_long):
                    return False
                statements.swap(self.check())
                swapped = True
                if statements.is_transactional:
                    self._close()
        finally:
            if not (swapped or statements.is_transactional):
                self._records.note(State.COPYING)
        if not statements.is_transactional:
            self._close()
        return True

    def _close(self) -> None:
        note(self._operations, self._plan.name, self._plan.scheme)
        self._records.end()
