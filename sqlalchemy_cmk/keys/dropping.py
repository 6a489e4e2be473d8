"""Which retired DEKs may be destroyed: those that nobody seals under any more, and no row needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy_cmk.keys.model import DekRecord

RowsLeft = Callable[[Collection[bytes]], Mapping[bytes, Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class DropReport:
    """What came of dropping retired DEKs.

    Attributes:
        dropped: ids of the DEKs that were destroyed.
        kept: by id, why a retired DEK was not: the count of its rows, or that it is too soon.
    """

    dropped: tuple[bytes, ...] = ()
    kept: Mapping[bytes, str] = field(default_factory=dict)


def weighed(
    retired: Collection[DekRecord], rows_left: RowsLeft, began: datetime, settle_after: float
) -> DropReport:
    """Tell which retired DEKs may go.

    Args:
        retired: the DEKs.
        rows_left: counts the rows under DEKs, by ``table.column``.
        began: before the counting began.
        settle_after: seconds from a DEK's retirement until nobody seals under it.
    """
    kept: dict[bytes, str] = {}
    settled = []
    for dek in retired:
        why = _unsettled(dek, began, settle_after)
        if why:
            kept[dek.id] = why
        else:
            settled.append(dek.id)
    rows = rows_left(settled) if settled else {}
    for dek_id in settled:
        left = {where: count for where, count in rows.get(dek_id, {}).items() if count}
        if left:
            kept[dek_id] = ", ".join(f"{where}: {_rows(count)}" for where, count in sorted(left.items()))
    return DropReport(tuple(one for one in settled if one not in kept), kept)


def _unsettled(dek: DekRecord, began: datetime, settle_after: float) -> str:
    if dek.retired_at is None:
        return "it is not known since when it is retired: set retired_at in the DEKs' table"
    until = dek.retired_at + timedelta(seconds=settle_after)
    if began >= until:
        return ""
    return f"other processes may seal under it until {until.isoformat(timespec='seconds')}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
