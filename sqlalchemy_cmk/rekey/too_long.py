"""Refuses rows that are too long for a statement of the server, before anything is done to a table."""

from __future__ import annotations

from sqlalchemy import Connection, MetaData, select

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.keys import key_as_text
from sqlalchemy_cmk.rekey.reflected import reflected
from sqlalchemy_cmk.rekey.sizes import lengths, total_of

# The characters of a statement for each byte of a value: as it was, in hexadecimal, and as it will be.
_AS_IT_WAS, _SEALED, _PLAIN = 2, 2, 1


def refuse_too_long(connection: Connection, job: Job) -> None:
    """Refuse a job with a row that is too long for a statement.

    Args:
        connection: to the database of the job; it is left without a transaction.
        job: what is to be done; of its columns only the sources need be there.

    Raises:
        ConfigurationError: a row is too long, by its key; or there is no such table.
    """
    database = database_of(connection.dialect)
    limit = database.statement_limit(connection)
    if limit is None:
        return
    table = reflected(MetaData(), job.table, job.schema, connection)
    written = {move.source: _AS_IT_WAS + (_SEALED if move.seals_sealed else _PLAIN) for move in job.moves}
    columns = (one for one in table.c if one.name in written)
    long = lengths(columns, database, limit // sum(written.values()))
    found = None
    if long:
        total = total_of({name: length * written[name] for name, length in long.items()})
        query = select(total_of(long), *table.primary_key).where(total > limit).limit(1)
        found = connection.execute(query).first()
    connection.rollback()
    if found is not None:
        size, *key = found
        raise ConfigurationError(
            f"{job.fullname}: the row with key {key_as_text(key)} holds {size} bytes in {', '.join(long)}, "
            f"and {database.too_long(limit)}"
        )
