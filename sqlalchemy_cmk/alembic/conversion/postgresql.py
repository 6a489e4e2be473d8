"""PostgreSQL: the swap is one transaction, which holds the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Boolean, ColumnElement, column, exists, func, table, text

from sqlalchemy_cmk.alembic.conversion.catalogue import Structure
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements
from sqlalchemy_cmk.databases.comparing import is_binary
from sqlalchemy_cmk.databases.quoting import dollar_quoted

# Shorter than deadlock_timeout, which is a second by default: in a deadlock with this migration it is never
# the application that has to give way.
LOCK_MILLISECONDS = 800


class Statements(ConversionStatements):
    """The statements of a conversion on PostgreSQL."""

    def watch(self) -> None:
        """Create the trigger that empties the shadow."""
        changed = " OR ".join(
            f'(NEW.{one}::text) COLLATE "C" IS DISTINCT FROM (OLD.{one}::text) COLLATE "C"'
            for one in map(self._quote, self._plan.watched)
        )
        kept = f"NEW.{self._shadow}::text IS NOT DISTINCT FROM OLD.{self._shadow}::text"
        body = f"BEGIN IF ({changed}) AND {kept} THEN NEW.{self._shadow} := NULL; END IF; RETURN NEW; END"
        self._execute(
            f"CREATE OR REPLACE FUNCTION {self._function}() RETURNS trigger LANGUAGE plpgsql "
            f"AS {dollar_quoted(body)}"
        )
        self._execute(
            f"CREATE OR REPLACE TRIGGER {self._plan.tag} BEFORE UPDATE ON {self._table} "
            f"FOR EACH ROW EXECUTE FUNCTION {self._function}()"
        )
        # Also for what replication and restores write, which fire no other trigger.
        self._execute(f"ALTER TABLE {self._table} ENABLE ALWAYS TRIGGER {self._plan.tag}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction with a short ``lock_timeout``."""
        # Each statement sees what was committed before it, whatever the server's default.
        self._execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        done = False
        try:
            self._execute(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'")
            yield
            done = True
        finally:
            self._execute("COMMIT" if done else "ROLLBACK")

    def lock(self) -> None:
        """Lock the table in the mode that changing it takes."""
        self._execute(f"LOCK TABLE {self._table} IN ACCESS EXCLUSIVE MODE")
        if self._base is not None:
            self._execute(f"LOCK TABLE {self._base} IN SHARE ROW EXCLUSIVE MODE")

    def has_shadow(self) -> ColumnElement[bool]:
        """Look into the catalogue."""
        flag = column("attisdropped", Boolean)
        attributes = table("pg_attribute", column("attrelid"), column("attname"), flag, schema="pg_catalog").c
        return exists().where(
            attributes.attrelid == func.to_regclass(self._table),
            attributes.attname == self._plan.shadow,
            ~attributes.attisdropped,
        )

    def swap_offline(self) -> None:
        """Write one block, which does all of the swap or nothing, in a transaction or not."""
        swapping = self._swapping()
        if not self._plan.nullable:
            swapping.append(f"ALTER TABLE {self._table} ALTER COLUMN {self._column} SET NOT NULL")
        swapped = "; ".join(swapping)
        body = (
            f"BEGIN LOCK TABLE {self._table} IN ACCESS EXCLUSIVE MODE; "  # noqa: S608
            f"IF EXISTS (SELECT 1 FROM {self._table} "
            f"WHERE {self._column} IS NOT NULL AND {self._shadow} IS NULL) THEN RAISE EXCEPTION "
            "'the copy is not complete: run its phase with a live database and keys'; END IF; "
            f"{swapped}; END"
        )
        self._execute(f"DO {dollar_quoted(body)}")

    def swap(self, structure: Structure) -> None:
        """Put the shadow in the column's place."""
        for statement in [*self._swapping(), *structure.restored, *structure.attributes]:
            self._execute(statement)

    def watches(self) -> bool:
        """Return whether the trigger is there."""
        query = text(
            "SELECT 1 FROM pg_trigger WHERE tgname = :name AND tgrelid = to_regclass(:table) "
            "AND tgenabled = 'A'"
        )
        values = {"name": self._plan.tag, "table": self._table}
        return self._operations.get_bind().execute(query, values).first() is not None

    def make_binary(self, made: str, structure: Structure) -> None:
        """Change the column's type, with which some of its attributes go."""
        change = f"ALTER TABLE {self._table} ALTER COLUMN {self._column}"
        self._execute(f"{change} DROP DEFAULT")
        if not is_binary(self._plan.opens):
            self._execute(f"{change} TYPE {made} USING convert_to({self._column}::text, 'UTF8')")
        for statement in structure.attributes:
            self._execute(statement)

    def unwatch(self) -> None:
        """Drop the trigger."""
        for statement in self._unwatching():
            self._execute(statement)

    @property
    def _function(self) -> str:
        return self._schema + self._plan.tag

    def _swapping(self) -> list[str]:
        change = f"ALTER TABLE {self._table}"
        statements = self._unwatching()
        statements.append(f"{change} DROP COLUMN {self._column}")
        statements.append(f"{change} RENAME COLUMN {self._shadow} TO {self._column}")
        if self._plan.default is not None:
            statements.append(f"{change} ALTER COLUMN {self._column} SET DEFAULT {self._plan.default}")
        return statements

    def _unwatching(self) -> list[str]:
        return [
            f"DROP TRIGGER IF EXISTS {self._plan.tag} ON {self._table}",
            f"DROP FUNCTION IF EXISTS {self._function}()",
        ]
