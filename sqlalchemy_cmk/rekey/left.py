"""How many rows still need a job, told from the first bytes of each value: one scan, and no key is opened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select, text

from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.rekey.counting import by_header
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.sealing import header_of

COUNTED_BELOW = 100_000


def count_left(settled: Iterable[bytes], layout: Layout, connection: Connection) -> int:
    """Return how many rows still need a job.

    In place these are the rows with a value that is not under an active DEK; what only a change of context
    would tell is not seen. For a job into other columns they are the rows with an empty target.

    Args:
        settled: the ids of :func:`settled_deks`, asked for before: the connection is in use by now.
    """
    if not layout.job.in_place:
        return int(connection.execute(layout.all_rows(func.count())).scalar_one())
    seals: list[Any] = [move.seals for move in layout.job.moves]
    done = [{header_of(type_.suite, dek_id) for dek_id in settled} for type_ in seals]
    grouped = by_header(layout.all_rows, [layout.column(move.target) for move in layout.job.moves])
    left = 0
    for *found, count in connection.execute(grouped):
        if any(
            one is not None and bytes(one) not in allowed for one, allowed in zip(found, done, strict=True)
        ):
            left += count
    return left


def settled_deks(keyring: Keyring) -> list[bytes]:
    """Return the ids of DEKs under which values are as they should be, or are gone for good."""
    deks = keyring.database.tables.deks
    query = select(deks.c.id, deks.c.state).where(deks.c.state != DekState.RETIRED)
    return [bytes(row[0]) for row in keyring.database.run(lambda c: c.execute(query).all())]


def rows_expected(layout: Layout, connection: Connection) -> int:
    """Return about how many rows a job will read: an estimate where the database has one of a large table."""
    estimate = _estimate(layout, connection) if layout.job.tenant is None else None
    if estimate is not None and estimate >= COUNTED_BELOW:
        return int(estimate)
    return int(connection.execute(layout.all_rows(func.count())).scalar_one())


def _estimate(layout: Layout, connection: Connection) -> Any:
    table = layout.table
    if connection.dialect.name == "postgresql":
        query = text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)")
        name = connection.dialect.identifier_preparer.format_table(table)
        return connection.execute(query, {"name": name}).scalar()
    if connection.dialect.name in ("mysql", "mariadb"):
        query = text(
            "SELECT table_rows FROM information_schema.tables "
            "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
        )
        return connection.execute(query, {"schema": table.schema, "name": table.name}).scalar()
    return None
