"""Joins the conversions of a table's columns that can share one pass through its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy_cmk.alembic.ops.base import TableOp
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp, DecryptColumnOp, EncryptColumnOp
from sqlalchemy_cmk.alembic.ops.convert_columns import DecryptColumnsOp, EncryptColumnsOp

_TOGETHER = {EncryptColumnOp: EncryptColumnsOp, DecryptColumnOp: DecryptColumnsOp}


def joined(found: Iterable[TableOp]) -> list[TableOp]:
    """Return operations with those joined, in the place of the first, that need the same of each row."""
    groups: dict[Any, list[Any]] = {}
    for number, one in enumerate(found):
        groups.setdefault(_shared(one) or number, []).append(one)
    return [group[0] if len(group) == 1 else _join(group) for group in groups.values()]


def _shared(operation: TableOp) -> Any:
    """Return what joined operations have in common; ``None`` for one that stays by itself."""
    if not isinstance(operation, ConversionOp) or operation.comments:
        return None
    options, rows = operation.options, operation.options.rows
    if options.mixed or None in (operation.type_, operation.existing_type):
        return None
    whose = rows.tenant_column, repr(rows.tenant_type)
    return type(operation), operation.schema, operation.table_name, whose, options.plaintexts


def _join(group: Sequence[ConversionOp]) -> TableOp:
    # Only row-bound columns name what identifies a row.
    rows = next((one.options.rows for one in group if one.options.rows.row_columns), group[0].options.rows)
    for one in group:
        one.options = replace(one.options, rows=rows)
    return _TOGETHER[type(group[0])](group)
