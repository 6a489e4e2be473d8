"""Counts the rows that still need a job, by the first bytes of each value: one scan, and no key is opened."""

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
    type_coerce,
)

from sqlalchemy_cmk.format import DEK_ID_BYTES, Suite
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.layout import Layout

MAX_COUNTED = 100_000


def count_remaining(keyring: Keyring, layout: Layout, connection: Connection) -> int:
    """Return how many rows still need a job.

    In place these are the rows with a value that is neither under an active DEK nor under one that was
    destroyed, or that is under a DEK of the platform where it is to be a tenant's, and the reverse. A value
    that only has another context or row identity is not seen. For a job into other columns they are the rows
    with an empty target.
    """
    remaining = layout.all_rows(func.count())
    if layout.job.makes_tokens:
        remaining = remaining.where(missing_token(layout))
    if layout.job.in_place:
        criteria = []
        for move in layout.job.moves:
            seals: Any = move.seals
            settled = keyring.store.settled_ids(platform=not (layout.has_tenant and move.seals_for_row))
            criteria.append(_unsettled(layout.column(move.target), seals.scheme.suite, settled))
        remaining = remaining.where(or_(*criteria))
    return int(connection.execute(remaining).scalar_one())


def missing_token(layout: Layout) -> ColumnElement[bool]:
    """Return the criterion of a row that has a value, or one in each of several columns, and no token."""
    sources = (layout.column(move.source).is_not(None) for move in layout.job.moves)
    return and_(*sources, layout.column(layout.job.targets[0]).is_(None))


def _unsettled(column: Column[Any], suite: Suite, settled: Select[Any]) -> ColumnElement[bool]:
    """Return the criterion of a value that is not under one of some DEKs; a NULL is none."""
    stored = type_coerce(column, LargeBinary())
    begin = func.substr(stored, 1, 1, type_=LargeBinary())
    dek_id = func.substr(stored, 2, DEK_ID_BYTES, type_=LargeBinary())
    return and_(stored.is_not(None), not_(and_(begin == bytes((suite,)), dek_id.in_(settled))))


def rows_expected(layout: Layout, connection: Connection) -> int:
    """Return about how many rows a job will read: an estimate where the database has one of a large table."""
    if layout.job.tenant is None:
        estimate = layout.database.estimated_rows(connection, layout.table)
        if estimate is not None and estimate >= MAX_COUNTED:
            return estimate
    return int(connection.execute(layout.all_rows(func.count())).scalar_one())
