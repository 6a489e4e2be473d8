"""The table of search indexes: the hidden columns whose tokens are being made, are asked, or are going."""

from __future__ import annotations

from typing import Any
from weakref import ref

from sqlalchemy import Column, Connection, DateTime, Integer, MetaData, String, Table, Text, event

from sqlalchemy_cmk.keys.storage.tables import ExactText, own_table


def make_indexes_table(metadata: MetaData, prefix: str) -> Table:
    """Put the table of search indexes into a ``MetaData``, or find it there."""
    table = own_table(
        metadata,
        f"{prefix}indexes",
        Column("schema_name", ExactText(128), primary_key=True, default=""),
        Column("table_name", ExactText(255), primary_key=True),
        Column("hidden_name", ExactText(128), primary_key=True),
        Column("column_name", ExactText(128), nullable=False),
        Column("index_name", ExactText(128), nullable=False),
        # Which of the two hidden columns of an index it is: 0 or 1.
        Column("slot", Integer, nullable=False),
        Column("state", String(10), nullable=False),
        # The purpose of the DEKs under which its tokens are.
        Column("purpose", String(20), nullable=False),
        # SHA-256 of all that changes a token but its DEK.
        Column("fingerprint", String(64), nullable=False),
        # JSON: the kind and the options, for the downgrade of a migration that drops it.
        Column("definition", Text, nullable=False),
        Column("begun", DateTime(timezone=True), nullable=False),
        Column("since", DateTime(timezone=True), nullable=False),
    )
    if not event.contains(table, "before_drop", note_dropping):
        event.listen(table, "before_drop", note_dropping)
    return table


_DROPPED_IN = "cmk_indexes_dropped_in"


def note_dropping(target: object, connection: Any, **_: object) -> None:
    """Note that a connection's transaction drops the table: others who read it wait for its end."""
    if isinstance(connection, Connection):
        transaction = connection.get_transaction()
        connection.info[_DROPPED_IN] = None if transaction is None else ref(transaction)


def is_dropping(connection: Connection) -> bool:
    """Return whether a connection's transaction has dropped the table."""
    noted = connection.info.get(_DROPPED_IN)
    transaction = noted and noted()
    return transaction is not None and transaction is connection.get_transaction()
