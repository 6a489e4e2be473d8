"""``VACUUM (FULL)``, and what it leaves: rows that others may see, statistics, the write-ahead log."""

from __future__ import annotations

import time

from sqlalchemy import Connection, String, bindparam, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases.base import NOT_IN_AUTOCOMMIT
from sqlalchemy_cmk.databases.quoting import verbatim
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.blocking import pause

_NEVER_SCRUBBED = (
    "The write-ahead log (pg_wal and its archive) holds what was written to the table until its segments are "
    "used again; an archive keeps it as long as it is kept itself.",
    "Extended statistics (CREATE STATISTICS ... mcv), if there are any, hold sample values: ANALYZE renewed "
    "them, and left the old ones in dead rows of pg_statistic_ext_data: VACUUM (FULL) that too.",
)
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
).bindparams(bindparam("mark", type_=String()))  # asyncpg takes an xid for a number
_SEES_OTHERS = text("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
_POLL = 0.1  # seconds


def scrub(connection: Connection, table: str, patience: float) -> list[str]:
    """Rewrite a table, and return what that did not reach; see :mod:`sqlalchemy_cmk.databases.scrub`."""
    give_up = time.monotonic() + patience
    alone = _older_have_ended(connection, give_up)
    connection.execute(verbatim(f"VACUUM (FULL, ANALYZE) {table}"))
    alone &= _older_have_ended(connection, give_up)
    left = [] if _statistics_rewritten(connection) else [_NO_STATISTICS]
    if not alone:
        left.append(_STILL_OPEN)
    if not connection.execute(_SEES_OTHERS).scalar_one():
        left.append(_OTHERS_UNSEEN)
    return [*left, *_NEVER_SCRUBBED]


def _older_have_ended(connection: Connection, give_up: float) -> bool:
    """Wait for every transaction that is older than this moment; return whether all of them ended in time."""
    mark = connection.execute(text("SELECT pg_current_xact_id()::xid::text")).scalar_one()
    if connection.execute(text("SELECT pg_current_xact_id_if_assigned()::xid::text")).scalar_one() == mark:
        raise ConfigurationError(NOT_IN_AUTOCOMMIT)
    while connection.execute(_OLDER_THAN, {"mark": mark}).scalar_one():
        if time.monotonic() > give_up:
            return False
        pause(_POLL)
    return True


def _statistics_rewritten(connection: Connection) -> bool:
    """Write pg_statistic again; return whether the account may: PostgreSQL only warns one that may not."""
    file = text("SELECT pg_relation_filenode('pg_catalog.pg_statistic')")
    before = connection.execute(file).scalar()
    try:
        connection.execute(text("VACUUM (FULL) pg_catalog.pg_statistic"))
    except DBAPIError:
        return False
    return bool(connection.execute(file).scalar() != before)
