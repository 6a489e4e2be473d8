"""The table of requests: which operations wait for a second person, and what became of them."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from sqlalchemy_cmk.keys.storage.tables import ExactText, own_table


def make_requests_table(metadata: MetaData, prefix: str) -> Table:
    """Put the table of requests into a ``MetaData``, or find it there."""
    requests = f"{prefix}requests"
    # Times are text: what was authenticated must be read back to the last digit from every database.
    return own_table(
        metadata,
        requests,
        Column("id", String(16), primary_key=True),
        Column("tenant", ExactText(190), nullable=False),
        Column("operation", String(20), nullable=False),
        Column("arguments", Text, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("requested_by", ExactText(200), nullable=False),
        Column("reason", ExactText(200), nullable=False),
        Column("requested_at", String(40), nullable=False),
        Column("expires_at", String(40), nullable=False),
        Column("state", String(10), nullable=False),
        Column("decided_by", ExactText(200), nullable=False),
        Column("decided_at", String(40), nullable=False),
        Column("decision", ExactText(200), nullable=False),
        Column("key_id", String(16), nullable=False),
        Column("mac", String(64), nullable=False),
        # SHA-256 of what is asked for. With the slot, which is NULL once a request is closed, it keeps two
        # processes from asking for the same at once.
        Column("fingerprint", String(64), nullable=False),
        Column("open_slot", Integer, nullable=True),
        UniqueConstraint("fingerprint", "open_slot", name=f"uq_{requests}_open"),
        Index(f"ix_{requests}_tenant", "tenant"),
    )
