"""The tables of re-keying: runs, the ranges of rows that they work on, and the values that did not open."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from sqlalchemy_cmk.keys.storage.tables import ExactText, own_table


@dataclass(frozen=True, slots=True)
class RekeyTables:
    """The tables of re-keying in one ``MetaData``."""

    runs: Table
    ranges: Table
    damaged: Table


def make_rekey_tables(metadata: MetaData, prefix: str) -> RekeyTables:
    """Put the tables of re-keying into a ``MetaData``, or find them there."""
    runs = _runs(metadata, f"{prefix}rekey_runs")
    return RekeyTables(
        runs,
        _ranges(metadata, f"{prefix}rekey_ranges", runs),
        _damaged(metadata, f"{prefix}rekey_damaged", runs),
    )


def _runs(metadata: MetaData, runs: str) -> Table:
    # generation is a fencing token: each process that takes the run over takes the next one, and workers of
    # an earlier generation can no longer commit.
    return own_table(
        metadata,
        runs,
        Column("id", String(16), primary_key=True),
        Column("job", String(64), nullable=False),
        # 1 until the run is done, then NULL: a job has one open run, however many processes begin it at once.
        Column("open_slot", Integer, nullable=True),
        Column("table_name", ExactText(255), nullable=False),
        Column("description", Text, nullable=False),
        Column("state", String(10), nullable=False),
        Column("generation", Integer, nullable=False),
        Column("passes", Integer, nullable=False),
        Column("split_up_to", Text, nullable=True),
        Column("fully_split", Integer, nullable=False),
        Column("rows_expected", BigInteger, nullable=False),
        Column("started_at", DateTime(timezone=True), nullable=False),
        Column("ended_at", DateTime(timezone=True), nullable=True),
        UniqueConstraint("job", "open_slot", name=f"uq_{runs}_open"),
    )


def _ranges(metadata: MetaData, ranges: str, runs: Table) -> Table:
    return own_table(
        metadata,
        ranges,
        Column("run_id", String(16), ForeignKey(runs.c.id), primary_key=True),
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("low", Text, nullable=True),
        Column("high", Text, nullable=False),
        Column("position", Text, nullable=True),
        Column("step", Integer, nullable=False),
        Column("done", Integer, nullable=False),
        Column("rows_read", BigInteger, nullable=False),
        Column("rows_changed", BigInteger, nullable=False),
        Column("rows_refused", BigInteger, nullable=False),
        Column("rows_damaged", BigInteger, nullable=False),
    )


def _damaged(metadata: MetaData, damaged: str, runs: Table) -> Table:
    return own_table(
        metadata,
        damaged,
        Column("run_id", String(16), ForeignKey(runs.c.id), primary_key=True),
        Column("row_hash", String(64), primary_key=True),
        Column("row_key", Text, nullable=False),
        Column("column_name", Text, nullable=False),
        Column("reason", Text, nullable=False),
    )
