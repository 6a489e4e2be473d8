"""Decides which retired DEKs may be destroyed: no process seals under them, and no row is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy_cmk.keys.indexes.users import TokenUser
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.records import DekRecord

# Seconds by which the clocks of two machines may differ, plus those from sealing a value to writing it.
CLOCKS_APART = 60

RowsLeft = Callable[[Collection[bytes]], Mapping[bytes, Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class DropReport:
    """The result of dropping retired DEKs.

    Attributes:
        dropped: ids of the DEKs that were destroyed.
        kept: by id, why a retired DEK was kept: the number of its rows, or that it is too soon.
        requested: by tenant, the request for it that waits for a second person.
        sampled: tables of no model that are so large that a sample of them was searched.
    """

    dropped: tuple[bytes, ...] = ()
    kept: Mapping[bytes, str] = field(default_factory=dict)
    sampled: tuple[str, ...] = ()
    requested: Mapping[str, str] = field(default_factory=dict)


def droppable(
    retired: Collection[DekRecord],
    rows_left: RowsLeft,
    began: datetime,
    longest_use: float,
    users_of: Callable[[Purpose], Iterable[TokenUser]],
) -> DropReport:
    """Return which retired DEKs may be destroyed, and why the others may not.

    Args:
        retired: the DEKs.
        rows_left: counts the rows under DEKs, by ``table.column``.
        began: a time before the counting began.
        longest_use: seconds for which this process may use a DEK after a proof; of all others the DEK's
            record says the longest.
        users_of: returns the indexes that have tokens under DEKs of a purpose: tokens name no DEK.
    """
    kept: dict[bytes, str] = {}
    settled = []
    for dek in retired:
        why = _unsettled(dek, began, max(longest_use, dek.longest_use)) or _with_tokens(dek, users_of)
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


def _unsettled(dek: DekRecord, began: datetime, longest_use: float) -> str:
    if dek.retired_at is None:
        return "it is not known when it was retired: set retired_at in the table of DEKs"
    until = dek.retired_at + timedelta(seconds=longest_use + CLOCKS_APART)
    if began >= until:
        return ""
    return f"other processes may seal under it until {until.isoformat(timespec='seconds')}"


def _with_tokens(dek: DekRecord, users_of: Callable[[Purpose], Iterable[TokenUser]]) -> str:
    users = users_of(dek.purpose) if dek.purpose.is_for_tokens else ()
    older = [one.where for one in users if dek.retired_at is not None and one.begun <= dek.retired_at]
    return f"tokens of {', '.join(older)} may be under it" if older else ""


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
