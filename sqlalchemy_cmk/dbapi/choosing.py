"""Values of which it cannot be told which column they are of. See :class:`ChoosingOpener`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.errors import CmkError, TamperedError, TenantMismatch, UnsupportedOperation
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.hooks.fetch import RowOpener
from sqlalchemy_cmk.hooks.positions import SealedPosition


class ChoosingOpener:
    """Opens rows in which a value may be of one of several columns: as what authenticates it, alone.

    Args:
        opener: opens the columns that are known; ``None`` if there are none.
        choices: for each column that is not, what it may be.
        among: what opens it as each of these.
    """

    def __init__(
        self,
        opener: RowOpener | None,
        choices: Sequence[Sequence[SealedPosition]],
        among: Sequence[Sequence[RowOpener]],
    ) -> None:
        self._opener = opener
        self._choices = choices
        self._among = among

    def open(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the raw rows of one batch with their sealed values opened.

        Raises:
            UnsupportedOperation: several contexts authenticate a value.
            CmkError: none does, or as the ORM does for the same row.
        """
        found = [tuple(row) for row in rows] if self._opener is None else list(self._opener.open(rows))
        try:
            for positions, openers in zip(self._choices, self._among, strict=True):
                for at, row in enumerate(found):
                    if row[positions[0].index] is not None:
                        found[at] = _chosen(row, positions, openers)
        except BaseException:
            found.clear()  # a traceback's locals hold no opened value
            raise
        return found


def _chosen(row: Any, positions: Sequence[SealedPosition], openers: Sequence[RowOpener]) -> Any:
    opened: dict[Context, Any] = {}
    failed: CmkError | None = None
    for position, opener in zip(positions, openers, strict=True):
        try:
            one = opener.open([row])[0]
        except (TamperedError, TenantMismatch) as error:
            failed = failed or error
            continue
        opened[position.column.context] = one
    if len(opened) == 1:
        (found,) = opened.values()
        if not isinstance(found[positions[0].index], Sealed):
            return found
    if not opened and failed is not None:
        raise failed
    opened.clear()
    names = " or ".join(position.column.where for position in positions)
    raise UnsupportedOperation(f"it cannot be told whether a value is of {names}: select each by itself")
