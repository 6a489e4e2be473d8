"""MariaDB and MySQL: every statement commits, so that the swap is a single one, on a locked table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, String, column, exists, func, table, text
from sqlalchemy.schema import CreateColumn

from sqlalchemy_cmk.alembic.conversion.catalogue import Structure
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements
from sqlalchemy_cmk.databases.mariadb import MariaDB

STRICTLY = "SET STATEMENT sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES') FOR"


class Statements(ConversionStatements):
    """The statements of a conversion on MariaDB and MySQL."""

    is_transactional = False

    def watch(self) -> None:
        """Create the trigger that empties the shadow."""
        self.unwatch()
        # BINARY: a collation takes 'a' and 'A' for the same.
        changed = " OR ".join(
            f"NOT (BINARY NEW.{one} <=> BINARY OLD.{one})" for one in map(self._quote, self._plan.watched)
        )
        kept = f"BINARY NEW.{self._shadow} <=> BINARY OLD.{self._shadow}"
        self._execute(
            f"CREATE TRIGGER {self._trigger} BEFORE UPDATE ON {self._table} FOR EACH ROW "  # noqa: S608
            f"SET NEW.{self._shadow} = IF(({changed}) AND {kept}, NULL, NEW.{self._shadow})"
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Wait for locks a short while only, and give them back afterwards; there is no transaction."""
        bind = self._operations.get_bind()
        before = int(bind.exec_driver_sql("SELECT @@SESSION.lock_wait_timeout").scalar_one())
        bind.exec_driver_sql(f"SET SESSION lock_wait_timeout = {MariaDB.lock_seconds}")
        try:
            yield
        finally:
            bind.exec_driver_sql("UNLOCK TABLES")
            bind.exec_driver_sql(f"SET SESSION lock_wait_timeout = {before}")

    def lock(self) -> None:
        """Take the table's write lock, and the base table's read lock."""
        base = "" if self._base is None else f", {self._base} READ"
        self._execute(f"LOCK TABLES {self._table} WRITE{base}")

    def swap_offline(self) -> None:
        """Write the constraint, and the swap that cannot do without it.

        A CHECK cannot name a column that the same statement drops. So the swap drops the constraint by its
        name: where a shadow was empty there is none, and the statement fails.
        """
        self._drop_check()
        check = f"{self._column} IS NULL OR {self._shadow} IS NOT NULL"
        # A session may have switched constraints off, and would add it unchecked.
        self._execute(
            f"SET STATEMENT check_constraint_checks = 1 FOR ALTER TABLE {self._table} "
            f"ADD CONSTRAINT {self._plan.tag} CHECK ({check})"
        )
        self._change_places(Structure(), f"DROP CONSTRAINT {self._plan.tag}")
        # Not before: until then it keeps the shadow up to date.
        self.unwatch()

    def has_shadow(self) -> ColumnElement[bool]:
        """Look into the catalogue."""
        names = ("table_schema", "table_name", "column_name")
        columns = table("columns", *map(column, names), schema="information_schema").c
        where = (self._plan.schema or func.database(), self._plan.table, self._plan.shadow)
        return exists().where(*(columns[name] == value for name, value in zip(names, where, strict=True)))

    def swap(self, structure: Structure) -> None:
        """Put the shadow in the column's place, in one statement."""
        self.unwatch()
        self._change_places(structure, f"DROP CONSTRAINT IF EXISTS {self._plan.tag}")

    def _change_places(self, structure: Structure, first: str) -> None:
        sealed = self._plan.new_column(self._plan.column, final=True)
        sealed.nullable = self._plan.nullable and structure.nullable
        self._reflected.append_column(sealed, replace_existing=True)
        made = self._quoting.compiled(CreateColumn(sealed))
        change = f"CHANGE COLUMN {self._shadow} {made}{structure.options} {structure.place}".rstrip()
        parts = [first, *structure.removed, f"DROP COLUMN {self._column}", change, *structure.restored]
        # Strictly: what does not fit is refused, and not cut off.
        self._execute(f"{STRICTLY} ALTER TABLE {self._table} {', '.join(parts)}")

    def watches(self) -> bool:
        """Return whether the trigger is there."""
        query = text(
            "SELECT 1 FROM information_schema.triggers WHERE trigger_name = :name "
            "AND trigger_schema = coalesce(:schema, database())"
        )
        values = {"name": self._plan.tag, "schema": self._plan.schema}
        return self._operations.get_bind().execute(query, values).first() is not None

    def make_binary(self, made: str, structure: Structure) -> None:
        """Change the column's type, by way of utf8mb4."""
        nullable = "NULL" if self._plan.nullable and structure.nullable else "NOT NULL"
        change, needs = f"{STRICTLY} ALTER TABLE {self._table} ", ""
        if isinstance(self._plan.opens, String):
            self._drop_check()
            length = f"VARCHAR({self._plan.opens.length})" if self._plan.opens.length else "LONGTEXT"
            # The second statement drops what the first adds, and fails without it: a client that goes on
            # after errors would leave bytes of another character set.
            self._execute(
                f"{change}MODIFY COLUMN {self._column} {length} CHARACTER SET utf8mb4 {nullable}, "
                f"ADD CONSTRAINT {self._plan.tag} CHECK (TRUE)"
            )
            needs = f"DROP CONSTRAINT {self._plan.tag}, "
        self._execute(f"{change}{needs}MODIFY COLUMN {self._column} {made} {nullable}{structure.options}")

    def unwatch(self) -> None:
        """Drop the trigger."""
        self._execute(f"DROP TRIGGER IF EXISTS {self._trigger}")

    def _drop_check(self) -> None:
        self._execute(f"ALTER TABLE {self._table} DROP CONSTRAINT IF EXISTS {self._plan.tag}")

    @property
    def _trigger(self) -> str:
        return self._schema + self._plan.tag
