"""How many rows still need a job, told from the first bytes of each value: one scan, and no key is opened."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    and_,
    func,
    not_,
    or_,
    select,
    text,
    type_coerce,
)

from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.orm.columns import MYSQL
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.sealing import DEK_ID_BYTES, Suite

COUNTED_BELOW = 100_000


def count_left(keyring: Keyring, layout: Layout, connection: Connection) -> int:
    """Return how many rows still need a job.

    In place these are the rows with a value that is neither under an active DEK nor under one that is gone
    for good; what only a change of context would tell is not seen. For a job into other columns they are the
    rows with an empty target.
    """
    left = layout.all_rows(func.count())
    if layout.job.in_place:
        deks = keyring.database.tables.deks
        settled = select(deks.c.id).where(deks.c.state != DekState.RETIRED)
        seals: list[tuple[Column[Any], Any]] = [
            (layout.column(move.target), move.seals) for move in layout.job.moves
        ]
        left = left.where(or_(*(_unsettled(column, type_.suite, settled) for column, type_ in seals)))
    return int(connection.execute(left).scalar_one())


def _unsettled(column: Column[Any], suite: Suite, settled: Select[Any]) -> ColumnElement[bool]:
    """Return the criterion of a value that is not under one of some DEKs; a NULL is none."""
    stored = type_coerce(column, LargeBinary())
    begin = func.substr(stored, 1, 1, type_=LargeBinary())
    dek_id = func.substr(stored, 2, DEK_ID_BYTES, type_=LargeBinary())
    return and_(stored.is_not(None), not_(and_(begin == bytes((suite,)), dek_id.in_(settled))))


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
    if connection.dialect.name in MYSQL:
        query = text(
            "SELECT table_rows FROM information_schema.tables "
            "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
        )
        return connection.execute(query, {"schema": table.schema, "name": table.name}).scalar()
    return None
