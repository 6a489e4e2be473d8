"""Many rows sealed column by column, where a row writes nothing but values. See :func:`seal_columns`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy_cmk.columns.writing import ColumnWriter
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.keys.opening.questions import ActiveDek


def writes_values_only(writer: RowWriter) -> bool:
    """Return whether rows of a table hold no tokens of indexes, and nothing that is bound to its row."""
    has_tokens = bool(writer.tokens.compounds) or any(map(writer.is_indexed, writer.columns))
    return writer.identity is None and not has_tokens


def seal_columns(
    writer: RowWriter, columns: Mapping[str, Sequence[Any]], tenants: Sequence[str]
) -> dict[str, Sequence[Any]]:
    """Return the values of many rows sealed, as the row writer seals them row by row.

    Args:
        writer: of the table, for which :func:`writes_values_only` holds.
        columns: the values of all rows, by the keys of the sealed columns.
        tenants: the tenant of each row.

    Raises:
        CmkError: as :meth:`RowWriter.seal_rows`.
    """
    places: dict[str, list[int]] = {}
    for row, tenant in enumerate(tenants):
        places.setdefault(tenant, []).append(row)
    groups = {key: list(_groups(writer, key, values, places)) for key, values in columns.items()}
    _open_keys(writer, groups)
    sealed: dict[str, Sequence[Any]] = {}
    for key, values in columns.items():
        of_column = writer.writer(key)
        if len(groups[key]) == 1:
            ((owner, _, chosen),) = groups[key]
            sealed[key] = of_column.seal_all(chosen, owner)
            continue
        found: list[Any] = [None] * len(values)
        for owner, at, chosen in groups[key]:
            for i, value in zip(at, of_column.seal_all(chosen, owner), strict=True):
                found[i] = value
        sealed[key] = found
    return sealed


_Group = tuple[str, Sequence[int], Sequence[Any]]


def _groups(
    writer: RowWriter, key: str, values: Sequence[Any], places: Mapping[str, Sequence[int]]
) -> Iterator[_Group]:
    """Yield the values of each owner, with the rows that they are of."""
    one = next(iter(places), "")
    if len(places) <= 1 or not writer.columns[key].is_tenants:
        owner = writer.owner(key, one)
        writer.require_owner(key, values, owner)
        yield owner, range(len(values)), values
        return
    for tenant, at in places.items():
        chosen = [values[i] for i in at]
        writer.require_owner(key, chosen, tenant)
        yield tenant, at, chosen


def _open_keys(writer: RowWriter, groups: Mapping[str, Sequence[_Group]]) -> None:
    """Open the keys of many tenants side by side; that of one alone is opened where it seals."""
    needed: dict[ActiveDek, ColumnWriter] = {}
    for key, owned in groups.items():
        of_column = writer.writer(key)
        if len(owned) > 1 and isinstance(of_column, ColumnWriter):
            for owner, _, chosen in owned:
                needed |= dict.fromkeys(of_column.keys_for(chosen, owner), of_column)
    if needed:
        next(iter(needed.values())).open_all(needed)
