"""The table of deliveries: which rows of the audit trail still have to be posted to which webhooks."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table

from sqlalchemy_cmk.keys.storage.tables import ExactText, own_table


def make_deliveries_table(metadata: MetaData, prefix: str) -> Table:
    """Put the table of deliveries into a ``MetaData``, or find it there.

    It holds no address, no secret and no event: those are in code, and in the audit trail.
    """
    deliveries = f"{prefix}deliveries"
    return own_table(
        metadata,
        deliveries,
        # The row of the audit trail.
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        # Empty until somebody has looked up which webhooks its tenant has.
        Column("webhook", ExactText(64), primary_key=True),
        Column("tenant", ExactText(190), nullable=False),
        Column("state", String(10), nullable=False),
        Column("attempts", Integer, nullable=False),
        # Seconds since 1970: when it began to wait, and when it is tried next, or again if nobody reports.
        Column("since", Double, nullable=False),
        Column("next_at", Double, nullable=False),
        Column("problem", String(200), nullable=False),
        Index(f"ix_{deliveries}_next_at", "state", "next_at"),
    )
