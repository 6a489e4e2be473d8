"""The key tables' database: one unit of work is one transaction, tried again where that is safe."""

from __future__ import annotations

from dataclasses import fields
from random import uniform
from time import sleep
from typing import TypeVar

from sqlalchemy import Inspector, MetaData, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchTableError, OperationalError, SQLAlchemyError

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.connections import Connections, Work
from sqlalchemy_cmk.keys.tables import make_key_tables

T = TypeVar("T")

RETRIES = 3


class KeyDatabase:
    """Runs units of work on the key tables.

    Args:
        connections: the keyring's own connections.
        prefix: the beginning of the key tables' names.
    """

    def __init__(self, connections: Connections, prefix: str) -> None:
        self._connections = connections
        metadata = MetaData()
        self.tables = make_key_tables(metadata, prefix)
        if connections.in_memory:
            connections.run(metadata.create_all)

    def run(self, work: Work[T], *, patient: bool = True) -> T:
        """Run one unit of work in a transaction of its own and commit it.

        Args:
            work: is given the connection.
            patient: whether to wait for SQLite's lock. What can be written at another time does not:
                a waiting writer keeps those who read from writing.

        Raises:
            IntegrityError: somebody else was first.
            KeyUnavailable: the tables cannot be reached or written now.
            ConfigurationError: they do not exist, or are of an older release.
        """
        try:
            return self._run_again(work, patient)
        except IntegrityError:
            raise
        except DBAPIError as error:
            problem: SQLAlchemyError = error
        except (OSError, SQLAlchemyError) as error:
            raise KeyUnavailable(f"the key tables cannot be reached: {type(error).__name__}") from error
        self._explain(problem)
        raise KeyUnavailable(
            "the key tables cannot be read or written now "
            f"({str(getattr(problem, 'orig', problem)).strip() or type(problem).__name__}); "
            "where another writer holds SQLite's lock, call keyring.warm([tenant]) before you write"
        ) from problem

    def _run_again(self, work: Work[T], patient: bool) -> T:
        # A deadlock's victim, or a connection that the server closed meanwhile, has written nothing. SQLite
        # has waited for its lock already.
        for _ in range(0 if self._connections.is_sqlite else RETRIES):
            try:
                return self._connections.run(work)
            except OperationalError:
                sleep(uniform(0.01, 0.05))  # noqa: S311
        return self._connections.run(work, patient)

    def _explain(self, problem: SQLAlchemyError) -> None:
        try:
            missing = self._connections.run(lambda connection: self._missing(inspect(connection)))
        except (SQLAlchemyError, OSError, NoSuchTableError):
            return
        if missing:
            raise ConfigurationError(
                f"the key tables lack {missing}: run metadata.create_all(engine) or the Alembic "
                "migration that makes it, after keyring.protect(Base)"
            ) from problem

    def _missing(self, inspector: Inspector) -> str:
        """Name the first table or column that is not there."""
        for name in (field.name for field in fields(self.tables)):
            table = getattr(self.tables, name)
            if not inspector.has_table(table.name):
                return f"the table {table.name}"
            there = {column["name"] for column in inspector.get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    return f"the column {table.name}.{column.name}"
        return ""
