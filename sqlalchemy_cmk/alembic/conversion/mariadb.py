"""MariaDB and MySQL: every statement commits, so that the swap is a single one, on a locked table."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import String, Table, text
from sqlalchemy.schema import CreateColumn

from sqlalchemy_cmk.alembic.conversion.plan import Plan, quoted
from sqlalchemy_cmk.alembic.conversion.structure import Index, Structure


class MariaDb:
    """The statements of a conversion; see :class:`.postgresql.Postgresql`."""

    # While a table is locked no other may be written.
    notes_first = True
    guards = True

    def __init__(self, operations: Operations, plan: Plan, table: Table) -> None:
        self._operations = operations
        self._execute = operations.execute
        self._plan = plan
        self._dialect = operations.migration_context.dialect
        self._quote = self._dialect.identifier_preparer.quote
        self._named = table
        self._table = quoted(self._dialect, table)
        self._column, self._shadow = self._quote(plan.column), self._quote(plan.shadow)

    def watch(self) -> None:
        """Have the shadow emptied when somebody changes the column, or whose row it is, not the shadow."""
        self.unwatch()
        # BINARY: a collation holds 'a' and 'A' for the same.
        changed = " OR ".join(
            f"NOT (BINARY NEW.{one} <=> BINARY OLD.{one})" for one in map(self._quote, self._plan.watched)
        )
        kept = f"BINARY NEW.{self._shadow} <=> BINARY OLD.{self._shadow}"
        self._execute(
            f"CREATE TRIGGER {self._trigger} BEFORE UPDATE ON {self._table} FOR EACH ROW "  # noqa: S608
            f"SET NEW.{self._shadow} = IF(({changed}) AND {kept}, NULL, NEW.{self._shadow})"
        )

    def guard(self) -> None:
        """Let nobody leave a shadow empty from now on."""
        self.unguard()
        check = f"{self._column} IS NULL OR {self._shadow} IS NOT NULL"
        self._execute(f"ALTER TABLE {self._table} ADD CONSTRAINT {self._plan.tag} CHECK ({check})")

    def unguard(self) -> None:
        """Take the guard away."""
        self._execute(f"ALTER TABLE {self._table} DROP CONSTRAINT IF EXISTS {self._plan.tag}")

    def lock(self) -> None:
        """Keep everybody else from the table."""
        self._execute(f"LOCK TABLES {self._table} WRITE")

    def unlock(self, *, done: bool) -> None:
        """Let others at the table again."""
        self._execute("UNLOCK TABLES")

    def assert_complete(self) -> None:
        """Write a statement that fails where a shadow is still empty."""
        self.guard()

    def swap(self, structure: Structure) -> None:
        """Put the shadow in the column's place, in one statement."""
        self.unwatch()
        column = self._plan.new_column(self._plan.column, final=True)
        column.comment = structure.comment
        self._named.append_column(column, replace_existing=True)
        # The compiler doubles percent signs for the driver, and text() below does so again.
        made = str(CreateColumn(column).compile(dialect=self._dialect)).replace("%%", "%")
        place = f" AFTER {self._quote(structure.after)}" if structure.after else " FIRST"
        parts = [f"DROP CONSTRAINT IF EXISTS {self._plan.tag}"]
        parts += [f"DROP INDEX {self._quote(index.name)}" for index in structure.indexes]
        parts += [f"DROP COLUMN {self._column}", f"CHANGE COLUMN {self._shadow} {made}{place}"]
        parts += [self._added(index) for index in structure.indexes]
        # As text with its colons kept: a default or a comment may hold some.
        self._execute(text(f"ALTER TABLE {self._table} {', '.join(parts)}".replace(":", r"\:")))

    def watches(self) -> bool:
        """Whether the trigger is there."""
        query = text(
            "SELECT 1 FROM information_schema.triggers WHERE trigger_name = :name "
            "AND trigger_schema = coalesce(:schema, database())"
        )
        values = {"name": self._plan.tag, "schema": self._plan.schema}
        return self._operations.get_bind().execute(query, values).first() is not None

    def make_binary(self, made: str) -> None:
        """Turn plain values into their bytes, in place."""
        nullable = "NULL" if self._plan.nullable else "NOT NULL"
        if isinstance(self._plan.opens, String):
            length = f"VARCHAR({self._plan.opens.length})" if self._plan.opens.length else "LONGTEXT"
            change = f"MODIFY COLUMN {self._column} {length} CHARACTER SET utf8mb4 {nullable}"
            self._execute(f"ALTER TABLE {self._table} {change}")
        self._execute(f"ALTER TABLE {self._table} MODIFY COLUMN {self._column} {made} {nullable}")

    def unwatch(self) -> None:
        """Take the trigger away."""
        self._execute(f"DROP TRIGGER IF EXISTS {self._trigger}")

    @property
    def _trigger(self) -> str:
        schema = f"{self._quote(self._plan.schema)}." if self._plan.schema else ""
        return schema + self._plan.tag

    def _added(self, index: Index) -> str:
        columns = ", ".join(self._quote(name) for name in index.columns)
        return f"ADD {'UNIQUE ' if index.unique else ''}INDEX {self._quote(index.name)} ({columns})"
