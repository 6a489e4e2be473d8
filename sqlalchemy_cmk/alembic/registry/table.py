"""The tables that migrations keep: how columns are sealed, and which conversions are under way."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table, Text

from sqlalchemy_cmk.keys.storage.tables import ExactText, own_table


def make_registry_table(metadata: MetaData, prefix: str) -> Table:
    """Put the table of sealed columns into a ``MetaData``, or find it there."""
    return own_table(
        metadata,
        f"{prefix}columns",
        *_name(),
        # JSON: the type of the values, the options that decide how they are stored, what names their row.
        Column("scheme", Text, nullable=False),
    )


def make_conversions_table(metadata: MetaData, prefix: str) -> Table:
    """Put the table of conversions under way into a ``MetaData``, or find it there."""
    return own_table(
        metadata,
        f"{prefix}conversions",
        *_name(),
        # The fingerprint of the plan: all that decides what the shadow column holds.
        Column("plan", String(64), nullable=False),
        Column("state", String(10), nullable=False),
        # How the column is sealed afterwards, as in the table of sealed columns; NULL where it is plain.
        Column("scheme", Text, nullable=True),
    )


def _name() -> tuple[Column[str], Column[str], Column[str]]:
    return (
        Column("schema_name", ExactText(128), primary_key=True, default=""),
        Column("table_name", ExactText(255), primary_key=True),
        Column("column_name", ExactText(128), primary_key=True),
    )
