"""SQLite: the values are exchanged in the column, whose declared type alone changes.

Making the table again would lose what Alembic does not reflect: collations, indexes on expressions, triggers.
So the declared type is changed in the text of the CREATE statement, as SQLite's documentation of ALTER TABLE
says for what leaves the file's content alone: all values are of the new type by then, and none is converted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from sqlalchemy_cmk.alembic.conversion.catalogue import Structure
from sqlalchemy_cmk.alembic.conversion.sqlite_declaration import declared_plain, declared_sealed
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements

log = logging.getLogger(__name__)


class Statements(ConversionStatements):
    """The statements of a conversion on SQLite."""

    swaps_offline = False

    def watch(self) -> None:
        """Create the trigger that empties the shadow."""
        self.unwatch()
        # Cast to BLOB: the column's collation may take different texts for the same.
        changed = " OR ".join(
            f"CAST(NEW.{one} AS BLOB) IS NOT CAST(OLD.{one} AS BLOB)"
            for one in map(self._quote, self._plan.watched)
        )
        kept = f"NEW.{self._shadow} IS OLD.{self._shadow}"
        # Offline the key is not known; every table has a row id unless it was declared without.
        names = [self._quote(column.name) for column in self._reflected.primary_key] or ["rowid"]
        key = " AND ".join(f"{name} IS NEW.{name}" for name in names)
        bare = self._quote(self._plan.table)
        self._execute(
            f"CREATE TRIGGER {self._schema}{self._plan.tag} AFTER UPDATE ON {bare} FOR EACH ROW "  # noqa: S608
            f"WHEN ({changed}) AND {kept} BEGIN UPDATE {bare} SET {self._shadow} = NULL WHERE {key}; END"
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin the transaction that alone may write."""
        self._bind.exec_driver_sql("BEGIN IMMEDIATE")
        done = False
        try:
            yield
            done = True
        finally:
            self._bind.exec_driver_sql("COMMIT" if done else "ROLLBACK")

    def lock(self) -> None:
        """Do nothing: while :meth:`transaction` runs no other connection writes."""

    def swap(self, structure: Structure) -> None:
        """Copy the shadow's values into the column, which keeps its place, its name and its indexes."""
        self.unwatch()
        # The application's triggers are for its own writes.
        triggers = self._triggers()
        for name, _ in triggers:
            self._bind.exec_driver_sql(f"DROP TRIGGER {self._schema}{self._quote(name)}")
        self._execute(f"UPDATE {self._table} SET {self._column} = {self._shadow}")  # noqa: S608
        self._execute(f"ALTER TABLE {self._table} DROP COLUMN {self._shadow}")
        self._declare(self._plan.new_column(self._plan.column, final=True).type.compile(self._dialect))
        for _, statement in triggers:
            self._bind.exec_driver_sql(statement)

    def watches(self) -> bool:
        """Return whether the trigger is there."""
        return any(name == self._plan.tag for name, _ in self._triggers())

    def make_binary(self, made: str, structure: Structure) -> None:
        """Declare the column as one of bytes; the values in it stay as they are."""
        if self._operations.migration_context.as_sql:
            return  # the column takes bytes as it is, and the text of its table is not known
        self._declare(made)

    def unwatch(self) -> None:
        """Drop the trigger."""
        self._execute(f"DROP TRIGGER IF EXISTS {self._schema}{self._plan.tag}")

    def _declare(self, made: str) -> None:
        """Change the column's declared type."""
        run, master = self._bind.exec_driver_sql, f"{self._schema}sqlite_master"
        run("PRAGMA writable_schema = ON")
        try:
            if not run("PRAGMA writable_schema").scalar_one():
                log.warning("%s keeps its declared type: SQLite runs in its defensive mode", self._plan.where)
                return
            of_table = "type = 'table' AND name = ? COLLATE NOCASE"
            name = self._plan.table
            sql = run(f"SELECT sql FROM {master} WHERE {of_table}", (name,)).scalar_one()  # noqa: S608
            declare = declared_sealed if self._plan.entry is not None else declared_plain
            changed = declare(sql, self._plan.column, made)
            run(f"UPDATE {master} SET sql = ? WHERE {of_table}", (changed, name))  # noqa: S608
            version = run(f"PRAGMA {self._schema}schema_version").scalar_one()
            run(f"PRAGMA {self._schema}schema_version = {version + 1}")
        finally:
            run("PRAGMA writable_schema = RESET")

    @property
    def _bind(self) -> Connection:
        return self._operations.get_bind()

    def _triggers(self) -> list[tuple[str, str]]:
        master = f"{self._schema}sqlite_master"
        query = f"SELECT name, sql FROM {master} WHERE type = 'trigger' AND tbl_name = ?"  # noqa: S608
        return [(row[0], row[1]) for row in self._bind.exec_driver_sql(query, (self._plan.table,))]
