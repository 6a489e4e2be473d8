"""SQLite: it keeps bytes in a column of any type, so that the table stays as it was declared.

Making the table anew would lose what Alembic does not reflect: collations, indexes on expressions, triggers.
"""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Connection, Table

from sqlalchemy_cmk.alembic.conversion.plan import Plan, quoted
from sqlalchemy_cmk.alembic.conversion.structure import Structure


class Sqlite:
    """The statements of a conversion; see :class:`.postgresql.Postgresql`."""

    guards = False
    notes_first = False

    def __init__(self, operations: Operations, plan: Plan, table: Table) -> None:
        self._operations = operations
        self._execute = operations.execute
        self._plan = plan
        self._named = table
        dialect = operations.migration_context.dialect
        self._quote = quote = dialect.identifier_preparer.quote
        self._table = quoted(dialect, table)
        self._schema = f"{quote(plan.schema)}." if plan.schema else ""
        self._column, self._shadow = quote(plan.column), quote(plan.shadow)

    def watch(self) -> None:
        """Have the shadow emptied when somebody changes the column, or whose row it is, not the shadow."""
        self.unwatch()
        # Cast to BLOB: the column's collation may hold different texts for the same.
        changed = " OR ".join(
            f"CAST(NEW.{one} AS BLOB) IS NOT CAST(OLD.{one} AS BLOB)"
            for one in map(self._quote, self._plan.watched)
        )
        kept = f"NEW.{self._shadow} IS OLD.{self._shadow}"
        # Offline the key is not known; every table has a row id unless it was declared without.
        names = [self._quote(column.name) for column in self._named.primary_key] or ["rowid"]
        key = " AND ".join(f"{name} IS NEW.{name}" for name in names)
        bare = self._quote(self._plan.table)
        self._execute(
            f"CREATE TRIGGER {self._schema}{self._plan.tag} AFTER UPDATE ON {bare} FOR EACH ROW "  # noqa: S608
            f"WHEN ({changed}) AND {kept} BEGIN UPDATE {bare} SET {self._shadow} = NULL WHERE {key}; END"
        )

    def guard(self) -> None:
        """Nothing: while the swap holds the lock nobody writes."""

    def unguard(self) -> None:
        """Nothing."""

    def lock(self) -> None:
        """Begin the transaction beside which nobody writes."""
        self._bind.exec_driver_sql("BEGIN IMMEDIATE")

    def unlock(self, *, done: bool) -> None:
        """End it."""
        self._bind.exec_driver_sql("COMMIT" if done else "ROLLBACK")

    def swap(self, structure: Structure) -> None:
        """Put the shadow's values into the column, which has its place, its name and its indexes."""
        self.unwatch()
        # The application's triggers are not meant for this.
        triggers = self._triggers()
        for name, _ in triggers:
            self._bind.exec_driver_sql(f"DROP TRIGGER {self._schema}{self._quote(name)}")
        self._execute(f"UPDATE {self._table} SET {self._column} = {self._shadow}")  # noqa: S608
        self._execute(f"ALTER TABLE {self._table} DROP COLUMN {self._shadow}")
        for _, statement in triggers:
            self._bind.exec_driver_sql(statement)

    def watches(self) -> bool:
        """Whether the trigger is there."""
        return any(name == self._plan.tag for name, _ in self._triggers())

    def make_binary(self, made: str) -> None:
        """Nothing: the column takes bytes as it is."""

    def assert_complete(self) -> None:
        """Nothing: offline there is no swap."""

    def unwatch(self) -> None:
        """Take the trigger away."""
        self._execute(f"DROP TRIGGER IF EXISTS {self._schema}{self._plan.tag}")

    @property
    def _bind(self) -> Connection:
        return self._operations.get_bind()

    def _triggers(self) -> list[tuple[str, str]]:
        master = f"{self._schema}sqlite_master"
        query = f"SELECT name, sql FROM {master} WHERE type = 'trigger' AND tbl_name = ?"  # noqa: S608
        return [(row[0], row[1]) for row in self._bind.exec_driver_sql(query, (self._plan.table,))]
