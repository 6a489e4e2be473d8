"""A conversion: expand, copy, swap. Each step looks at what is there: a killed migration is run again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from alembic.operations import Operations
from sqlalchemy import column, func, inspect, null, select, table, update
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.alembic.configuration import key_tables
from sqlalchemy_cmk.alembic.conversion.databases import database_of
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.structure import Structure
from sqlalchemy_cmk.alembic.registering import register, registry_of, unregister
from sqlalchemy_cmk.alembic.running import committed, run_job
from sqlalchemy_cmk.alembic.stored import Stored, look
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.orm.columns import is_binary
from sqlalchemy_cmk.rekey.scrub import scrub
from sqlalchemy_cmk.types import EncryptedType

log = logging.getLogger(__name__)

ATTEMPTS = 10


class Conversion:
    """Turns a column's values into another form beside the application.

    Args:
        operations: Alembic's.
        plan: what into what.

    Raises:
        UnsupportedOperation: the database is none whose columns are converted.
        ConfigurationError: there is no such table.
    """

    def __init__(self, operations: Operations, plan: Plan) -> None:
        self._operations = operations
        self._plan = plan
        self._database = database_of(operations, plan)

    def run(self, phase: str) -> None:
        """Do a phase, or all of them, or what is left of them.

        Raises:
            ConfigurationError: the column is not what the migration takes it for, or values do not open.
        """
        plan = self._plan
        underway = plan.shadow in self._columns()
        if not underway and self._is_done():
            log.info("%s is converted already", plan.where)
            return
        if not underway and phase in ("copy", "swap"):
            raise ConfigurationError(f"{plan.where}: phase {phase!r} comes after phase 'expand'")
        Structure.of(self._operations, plan)
        self._expand()
        if phase in ("copy", "all"):
            run_job(self._operations, plan.job)
        if phase in ("swap", "all"):
            self._swap()

    def scrub(self) -> None:
        """Write the table anew, so that what was replaced is no longer in its files, and log what stays."""
        with committed(self._operations):
            left = scrub(self._operations.get_bind(), self._plan.table, self._plan.schema)
        for sentence in left:
            log.warning("%s: %s", self._plan.where, sentence)

    def _expand(self) -> None:
        plan = self._plan
        with committed(self._operations):
            if plan.shadow not in self._columns():
                shadow = plan.new_column(plan.shadow, final=False)
                self._operations.add_column(plan.table, shadow, schema=plan.schema)
            if not self._database.watches():
                self._database.watch()
                # What was copied while nobody watched may be out of date.
                rows = table(plan.table, column(plan.shadow), schema=plan.schema)
                filled = rows.c[plan.shadow].is_not(None)
                self._operations.execute(update(rows).where(filled).values({plan.shadow: null()}))

    def _swap(self) -> None:
        for _ in range(ATTEMPTS):
            if self._guarded() and self._swapped():
                log.info("%s is converted", self._plan.where)
                return
            run_job(self._operations, self._plan.job)
        raise ConfigurationError(
            f"{self._plan.where}: others write it faster than it is copied; run the migration again later"
        )

    def _guarded(self) -> bool:
        """Let nobody leave a shadow empty; ``False`` where one is, and the database says so."""
        try:
            with committed(self._operations):
                self._database.guard()
        except DBAPIError:
            if not self._left():
                raise
            return False
        return True

    def _swapped(self) -> bool:
        """Swap, if no shadow is empty."""
        try:
            if self._left():
                run_job(self._operations, self._plan.job)
            if self._left():
                return False
            with committed(self._operations), self._locked() as outcome:
                # Behind a guard none has become empty since, and the table is not held for another look.
                if self._database.guards or not self._left():
                    self._database.swap(Structure.of(self._operations, self._plan))
                    if not self._database.notes_first:
                        self._note()
                    outcome["done"] = True
                return outcome["done"]
        except BaseException:
            # The application goes on as before.
            with suppress(DBAPIError), committed(self._operations):
                self._database.unguard()
            raise

    @contextmanager
    def _locked(self) -> Iterator[dict[str, bool]]:
        outcome = {"done": False}
        if self._database.notes_first:
            self._note()
        self._database.lock()
        try:
            yield outcome
        finally:
            self._database.unlock(done=outcome["done"])

    def _note(self) -> None:
        entry = self._plan.entry
        if entry is not None:
            register(self._operations, entry)
        else:
            unregister(self._operations, self._plan.fullname, self._plan.column)

    def _left(self) -> int:
        rows = select(func.count()).select_from(table(self._plan.table, schema=self._plan.schema))
        return int(self._operations.get_bind().execute(rows.where(self._plan.left)).scalar_one())

    def _is_done(self) -> bool:
        plan = self._plan
        registry, wanted = registry_of(self._operations), plan.entry
        if wanted is not None:
            registry.require()
        entry = registry.entries().get((plan.fullname, plan.column))
        if wanted is not None and entry is not None:
            if entry.seal == wanted.seal:
                return True
            if not isinstance(plan.opens, EncryptedType):
                raise ConfigurationError(f"{plan.where} is sealed already, in another way")
            return False
        stored = self._look()
        if wanted is None:
            empty_bytes = stored is Stored.EMPTY and self._is_binary() and not is_binary(plan.seals)
            return entry is None and stored in (Stored.PLAIN, Stored.EMPTY) and not empty_bytes
        if not isinstance(plan.opens, EncryptedType) and stored in (Stored.SEALED, Stored.MIXED):
            raise ConfigurationError(
                f"{plan.where} holds sealed values: op.register_sealed_column notes how they are sealed"
            )
        return False

    def _look(self) -> Stored:
        plan = self._plan
        deks = key_tables(self._operations.migration_context).deks
        return look(self._operations.get_bind(), deks, plan.table, plan.column, plan.schema)

    def _is_binary(self) -> bool:
        columns = inspect(self._operations.get_bind()).get_columns(self._plan.table, schema=self._plan.schema)
        return any(is_binary(one["type"]) for one in columns if one["name"] == self._plan.column)

    def _columns(self) -> set[str]:
        inspector = inspect(self._operations.get_bind())
        columns = {
            str(one["name"]) for one in inspector.get_columns(self._plan.table, schema=self._plan.schema)
        }
        if self._plan.column not in columns:
            raise ConfigurationError(f"there is no column {self._plan.where}")
        return columns
