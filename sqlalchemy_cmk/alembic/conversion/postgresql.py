"""PostgreSQL: the swap is one transaction, which holds the table."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Table, text
from sqlalchemy.schema import SetColumnComment

from sqlalchemy_cmk.alembic.conversion.plan import Plan, quoted
from sqlalchemy_cmk.alembic.conversion.structure import Structure
from sqlalchemy_cmk.orm.columns import is_binary


class Postgresql:
    """The statements of a conversion.

    Args:
        operations: Alembic's.
        plan: the conversion.
        table: the table, as far as it could be looked up.
    """

    guards = True
    notes_first = False

    def __init__(self, operations: Operations, plan: Plan, table: Table) -> None:
        self._execute = operations.execute
        self._operations = operations
        self._plan = plan
        dialect = operations.migration_context.dialect
        self._quote = quote = dialect.identifier_preparer.quote
        self._named = table
        self._table = quoted(dialect, table)
        self._column, self._shadow = quote(plan.column), quote(plan.shadow)
        schema = f"{quote(plan.schema)}." if plan.schema else ""
        self._function = schema + plan.tag

    def watch(self) -> None:
        """Have the shadow emptied when somebody changes the column, or whose row it is, not the shadow."""
        changed = " OR ".join(
            f'(NEW.{one}::text) COLLATE "C" IS DISTINCT FROM (OLD.{one}::text) COLLATE "C"'
            for one in map(self._quote, self._plan.watched)
        )
        kept = f"NEW.{self._shadow}::text IS NOT DISTINCT FROM OLD.{self._shadow}::text"
        self._execute(
            f"CREATE OR REPLACE FUNCTION {self._function}() RETURNS trigger LANGUAGE plpgsql AS $cmk$ BEGIN "
            f"IF ({changed}) AND {kept} THEN NEW.{self._shadow} := NULL; END IF; "
            "RETURN NEW; END $cmk$"
        )
        self._execute(
            f"CREATE OR REPLACE TRIGGER {self._plan.tag} BEFORE UPDATE ON {self._table} "
            f"FOR EACH ROW EXECUTE FUNCTION {self._function}()"
        )

    def guard(self) -> None:
        """Let nobody leave a shadow empty from now on."""
        # Not a CHECK that is NOT VALID: SQLAlchemy warns when it reflects one.
        self._execute(
            f"CREATE OR REPLACE FUNCTION {self._function}_g() RETURNS trigger LANGUAGE plpgsql AS $cmk$ "
            f"BEGIN IF NEW.{self._column} IS NOT NULL AND NEW.{self._shadow} IS NULL THEN RAISE EXCEPTION "
            "'the column is changing its form: this version of the application does not write the new one'; "
            "END IF; RETURN NEW; END $cmk$"
        )
        self._execute(
            f"CREATE OR REPLACE TRIGGER {self._plan.tag}_g BEFORE INSERT OR UPDATE ON {self._table} "
            f"FOR EACH ROW EXECUTE FUNCTION {self._function}_g()"
        )

    def unguard(self) -> None:
        """Take the guard away."""
        self._drop(f"{self._plan.tag}_g", f"{self._function}_g")

    def lock(self) -> None:
        """Keep everybody else from the table, in a transaction."""
        self._execute("BEGIN")
        self._execute(f"LOCK TABLE {self._table} IN ACCESS EXCLUSIVE MODE")

    def unlock(self, *, done: bool) -> None:
        """End it."""
        self._execute("COMMIT" if done else "ROLLBACK")

    def assert_complete(self) -> None:
        """Write a statement that fails where a shadow is still empty."""
        self._execute(
            f"DO $cmk$ BEGIN IF EXISTS (SELECT 1 FROM {self._table} "  # noqa: S608
            f"WHERE {self._column} IS NOT NULL AND {self._shadow} IS NULL) THEN RAISE EXCEPTION "
            "'the copy is not complete: run its phase with a live database and keys'; END IF; END $cmk$"
        )

    def swap(self, structure: Structure) -> None:
        """Put the shadow in the column's place."""
        self.unwatch()
        self.unguard()
        change = f"ALTER TABLE {self._table}"
        self._execute(f"{change} DROP COLUMN {self._column}")
        self._execute(f"{change} RENAME COLUMN {self._shadow} TO {self._column}")
        if not self._plan.nullable:
            self._execute(f"{change} ALTER COLUMN {self._column} SET NOT NULL")
        if self._plan.default is not None:
            self._execute(f"{change} ALTER COLUMN {self._column} SET DEFAULT {self._plan.default}")
        if structure.comment is not None:
            column = self._plan.new_column(self._plan.column, final=True)
            column.comment = structure.comment
            self._named.append_column(column, replace_existing=True)
            self._execute(SetColumnComment(column))
        structure.restore(self._operations, self._plan)

    def watches(self) -> bool:
        """Whether the trigger is there."""
        query = text("SELECT 1 FROM pg_trigger WHERE tgname = :name AND tgrelid = to_regclass(:table)")
        values = {"name": self._plan.tag, "table": self._table}
        return self._operations.get_bind().execute(query, values).first() is not None

    def make_binary(self, made: str) -> None:
        """Turn plain values into their bytes, in place."""
        change = f"ALTER TABLE {self._table} ALTER COLUMN {self._column}"
        self._execute(f"{change} DROP DEFAULT")
        if not is_binary(self._plan.opens):
            self._execute(f"{change} TYPE {made} USING convert_to({self._column}::text, 'UTF8')")

    def unwatch(self) -> None:
        """Take the trigger away."""
        self._drop(self._plan.tag, self._function)

    def _drop(self, trigger: str, function: str) -> None:
        self._execute(f"DROP TRIGGER IF EXISTS {trigger} ON {self._table}")
        self._execute(f"DROP FUNCTION IF EXISTS {function}()")
