"""What rows hold in the database, their tenants and identities, where a statement does not say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, or_, select

from sqlalchemy_cmk.columns.tenants import TenantSource
from sqlalchemy_cmk.errors import UnsupportedOperation

_LOOKUP = 200

Identity = tuple[Any, ...]


def owners_in_database(
    connection: Connection, source: TenantSource, rows: Iterable[Identity]
) -> dict[Identity, str]:
    """Read the tenants of rows from their table, in the caller's own transaction.

    Args:
        rows: primary keys of ``source.table``.
    """
    wanted = list(dict.fromkeys(rows))
    found: dict[Identity, str] = {}
    for start in range(0, len(wanted), _LOOKUP):
        found |= _owners(connection, source, wanted[start : start + _LOOKUP])
    # A database may hold keys for equal that Python does not: '7' and 7, 'a' and 'A'.
    for identity in [one for one in wanted if one not in found]:
        for owner in _owners(connection, source, [identity]).values():
            found[identity] = owner
    return found


def _owners(connection: Connection, source: TenantSource, rows: list[Identity]) -> dict[Identity, str]:
    primary = list(source.table.primary_key)
    found = connection.execute(select(source.column, *primary).where(_among(primary, rows)))
    return {tuple(row[1:]): source.name(row[0]) for row in found}


def _among(columns: Sequence[Column[Any]], rows: list[Identity]) -> ColumnElement[bool]:
    """Return the criterion for the rows in which some columns hold one of some values."""
    if len(columns) == 1:
        return columns[0].in_([row[0] for row in rows])
    return or_(*(and_(*(c == v for c, v in zip(columns, row, strict=True))) for row in rows))


def identities_in_database(
    connection: Connection,
    by: Sequence[Column[Any]],
    columns: Sequence[Column[Any]],
    rows: Iterable[Identity],
) -> dict[Identity, tuple[Any, ...]]:
    """Read what the identity columns of rows hold, in the caller's own transaction; lock the rows.

    Args:
        by: the columns by which the rows are named.
        columns: their identity columns.
        rows: what ``by`` holds in each.

    Raises:
        UnsupportedOperation: rows of several identities are named by one value.
    """
    wanted = list(dict.fromkeys(rows))
    found: dict[Identity, tuple[Any, ...]] = {}
    if all(column.primary_key for column in by):
        for start in range(0, len(wanted), _LOOKUP):
            found |= _identities(connection, by, columns, wanted[start : start + _LOOKUP])
    # A database may hold keys for equal that Python does not: '7' and 7, 'a' and 'A'.
    for name in [one for one in wanted if one not in found]:
        held = set(_identities(connection, by, columns, [name]).values())
        if len(held) > 1:
            raise UnsupportedOperation(
                f"{by[0].table}: a statement that writes a row-bound column names several rows by "
                f"{', '.join(column.name for column in by)}: name each by its primary key"
            )
        if held:
            found[name] = held.pop()
    return found


def _identities(
    connection: Connection, by: Sequence[Column[Any]], columns: Sequence[Column[Any]], rows: list[Identity]
) -> dict[Identity, tuple[Any, ...]]:
    query = select(*by, *columns).where(_among(by, rows))
    # Nobody may give a row another identity before it is written.
    found = connection.execute(query.with_for_update(key_share=True))
    return {tuple(row[: len(by)]): tuple(row[len(by) :]) for row in found}
