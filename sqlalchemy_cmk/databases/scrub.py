"""Taking old plaintexts out of a table's files after its rows were sealed: :func:`scrub`.

An UPDATE or a dropped column leaves the old bytes where they were: in dead tuples, free pages and undo logs.
The table is rewritten, which is what a database offers; what that does not reach is reported.
"""

from __future__ import annotations

from sqlalchemy import Connection, MetaData, Table

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.runtime.kinds import NUMBER, Kind, takes, text


@takes(
    connection=Kind((Connection,), "a Connection, such as engine.connect() gives"),
    table=text("a table's name"),
    schema=text("a schema's name").or_none,
    patience=NUMBER,
)
def scrub(
    connection: Connection, table: str, schema: str | None = None, *, patience: float = 60
) -> list[str]:
    """Rewrite a table without its old values, and return the places that this could not reach.

    It locks the table meanwhile, and needs room on the disk for a second copy of it. On SQLite the whole file
    is rewritten. PostgreSQL keeps dead rows that an open transaction may still see: transactions that are
    older are waited for, without a lock.

    Args:
        connection: one whose statements commit by themselves (``isolation_level="AUTOCOMMIT"``, or inside
            Alembic's ``autocommit_block``).
        table: the table's name.
        schema: its schema.
        patience: seconds for which older transactions are waited for at most, on PostgreSQL; those that last
            longer are reported.

    Returns:
        Sentences, each naming a place where old plaintexts may still lie.

    Raises:
        ConfigurationError: the connection is in a transaction, or it is not known how to do this on the
            database.
    """
    quoted = Quoting(connection.dialect).table(table, schema)
    database = database_of(connection.dialect)
    left = database.scrub(connection, quoted, patience)
    return [*database.surroundings.copies(connection, Table(table, MetaData(), schema=schema)), *left]
