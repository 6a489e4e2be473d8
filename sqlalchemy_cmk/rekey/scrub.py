"""Taking old plaintexts out of a table's files after its rows were sealed. See :func:`scrub`.

An UPDATE or a dropped column leaves the old bytes where they were: in dead tuples, free pages and undo logs.
The table is written anew, which is what a database offers; what no rewrite of it reaches is told.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.errors import ConfigurationError

EVERYWHERE = [
    "Backups, exports and logical replicas that were made before hold the plaintexts: make new ones, destroy "
    "the old ones.",
    "The old files were deleted, not overwritten: their blocks lie on the disk until they are used again.",
]
_POSTGRESQL = [
    "The write-ahead log (pg_wal and its archive) holds what was written to the table until its segments are "
    "used again; an archive keeps it for ever.",
    "Extended statistics (CREATE STATISTICS ... mcv), if there are any, hold sample values: ANALYZE renewed "
    "them, and left the old ones in dead rows of pg_statistic_ext_data: VACUUM (FULL) that too.",
]
_NO_STATISTICS = (
    "The planner's statistics hold sample values of the column: ANALYZE renewed them, and left the old ones "
    "in dead rows of pg_statistic; only a superuser or the database's owner may VACUUM (FULL) pg_statistic."
)
_STILL_OPEN = (
    "Transactions that began before are still open, in this database or writing in another one of the "
    "server, or a prepared transaction, replication slot or standby needs their rows: dead rows that they "
    "may see were kept. Scrub again when they have ended."
)
_OTHERS_UNSEEN = (
    "Whether other users' open transactions had dead rows kept is not shown without the role "
    "pg_read_all_stats."
)
_MYSQL = [
    "InnoDB's redo log (ib_logfile0) holds what was written to the table until it is written over.",
    "InnoDB's undo log and doublewrite buffer (ibdata1, undo001 ...) hold old versions of rows until their "
    "pages are used again.",
    "The binary log, if it is on, holds every statement or row that was written: PURGE BINARY LOGS when "
    "replicas have read it.",
    "Persistent statistics (mysql.column_stats), if ANALYZE TABLE ... PERSISTENT was ever run, hold the "
    "smallest and largest values: run it again, or delete the table's rows there.",
]
_SQLITE_WAL = (
    "The write-ahead log could not be emptied, since another connection reads from it: run "
    "PRAGMA wal_checkpoint(TRUNCATE) when none does."
)
_AUTOCOMMIT = "a table cannot be scrubbed in a transaction: give a connection in AUTOCOMMIT"
# VACUUM keeps the dead rows that the oldest snapshot may see. Its own is one of them, and reaches back to the
# oldest transaction that writes anywhere on the server.
_OLDER_THAN = text(
    """
    SELECT age(pg_snapshot_xmin(pg_current_snapshot())::xid) > age(CAST(:mark AS xid))
      OR EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid()
                 AND (datname = current_database() OR datname IS NULL)
                 AND greatest(age(backend_xmin), age(backend_xid)) > age(CAST(:mark AS xid)))
      OR EXISTS (SELECT FROM pg_replication_slots
                 WHERE greatest(age(xmin), age(catalog_xmin)) > age(CAST(:mark AS xid)))
    """
)
_SEES_OTHERS = text("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
_POLL = 0.1  # seconds


def scrub(
    connection: Connection, table: str, schema: str | None = None, *, patience: float = 60
) -> list[str]:
    """Write a table anew without what was updated or dropped, and return what that could not reach.

    It locks the table for as long as that takes, and needs room on the disk for a second copy of it. On
    SQLite the whole file is written anew. PostgreSQL keeps dead rows that an open transaction may still see:
    those that are older are waited for, without a lock.

    Args:
        connection: one whose statements commit by themselves (``isolation_level="AUTOCOMMIT"``, or inside
            Alembic's ``autocommit_block``).
        table: the table's name.
        schema: its schema.
        patience: seconds for which older transactions are waited for at most, on PostgreSQL; those that last
            longer are told.

    Returns:
        Sentences, each naming a place where old plaintexts may still lie.

    Raises:
        ConfigurationError: the connection is in a transaction, or it is not known how to do this on the
            database.
    """
    quote = connection.dialect.identifier_preparer.quote
    where = f"{quote(schema)}.{quote(table)}" if schema else quote(table)
    match connection.dialect.name:
        case "postgresql":
            return _postgresql(connection, where, patience)
        case "mysql" | "mariadb":
            return _mysql(connection, where)
        case "sqlite":
            return _sqlite(connection, where)
        case other:
            raise ConfigurationError(f"it is not known how to scrub a table on {other}")


def _postgresql(connection: Connection, table: str, patience: float) -> list[str]:
    give_up = time.monotonic() + patience
    alone = _older_have_ended(connection, give_up)
    connection.execute(text(f"VACUUM (FULL, ANALYZE) {table}"))
    alone &= _older_have_ended(connection, give_up)
    told = [] if _statistics_rewritten(connection) else [_NO_STATISTICS]
    if not alone:
        told.append(_STILL_OPEN)
    if not connection.execute(_SEES_OTHERS).scalar_one():
        told.append(_OTHERS_UNSEEN)
    return [*told, *_POSTGRESQL, *EVERYWHERE]


def _older_have_ended(connection: Connection, give_up: float) -> bool:
    """Wait for every transaction that is older than this moment; tell whether all of them ended in time."""
    mark = connection.execute(text("SELECT pg_current_xact_id()::xid::text")).scalar_one()
    if connection.execute(text("SELECT pg_current_xact_id_if_assigned()::xid::text")).scalar_one() == mark:
        raise ConfigurationError(_AUTOCOMMIT)
    while connection.execute(_OLDER_THAN, {"mark": mark}).scalar_one():
        if time.monotonic() > give_up:
            return False
        time.sleep(_POLL)
    return True


def _statistics_rewritten(connection: Connection) -> bool:
    """Write pg_statistic anew; who may not do that is only warned by PostgreSQL, and nothing is done."""
    file = text("SELECT pg_relation_filenode('pg_catalog.pg_statistic')")
    before = connection.execute(file).scalar()
    try:
        connection.execute(text("VACUUM (FULL) pg_catalog.pg_statistic"))
    except DBAPIError:
        return False
    return bool(connection.execute(file).scalar() != before)


def _mysql(connection: Connection, table: str) -> list[str]:
    connection.execute(text(f"ALTER TABLE {table} FORCE"))
    return [*_MYSQL, *EVERYWHERE]


def _sqlite(connection: Connection, table: str) -> list[str]:
    driver = connection.connection.driver_connection
    if getattr(driver, "in_transaction", False):
        raise ConfigurationError(_AUTOCOMMIT)
    before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        if connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat4'").first():
            connection.exec_driver_sql(f"ANALYZE {table}")  # its samples of indexed columns
        connection.exec_driver_sql("VACUUM")
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
    finally:
        connection.exec_driver_sql(f"PRAGMA secure_delete = {int(before)}")
    return [*([_SQLITE_WAL] if busy else []), *EVERYWHERE]
