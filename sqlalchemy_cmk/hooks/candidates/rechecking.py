"""Compares opened rows again with what was asked for, and drops the others. See :class:`Rechecker`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy_cmk.columns.candidates import asked_value
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import KeyRevoked
from sqlalchemy_cmk.hooks.candidates.places import Place

Predicate = Callable[[Any], bool]


class Rechecker:
    """Opens the raw rows of one execution, and returns those that were asked for.

    Args:
        open_rows: returns raw rows opened.
        places: each candidate of the statement, with where the rows carry its column.
        context: SQLAlchemy's execution context.
    """

    def __init__(
        self,
        open_rows: Callable[[Sequence[Any]], Sequence[Any]],
        places: Sequence[tuple[Place, int]],
        context: Any,
    ) -> None:
        self._open_rows = open_rows
        self._checks = [(at, _predicate(place, context), place) for place, at in places]

    def open(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return those of a batch of raw rows that were asked for, opened.

        Raises:
            KeyRevoked: a value cannot be opened, so that nothing says whether it was asked for.
        """
        opened = list(self._open_rows(rows))
        try:
            for at, is_asked, place in self._checks:
                values = [row[at] for row in opened]
                if Sealed in map(type, values):
                    raise KeyRevoked(
                        f"{place.column.where}: the key of a row that the index {place.index.index.suffix!r} "
                        "finds is revoked: it cannot be compared again"
                    )
                keeps = [value is not None and is_asked(value) for value in values]
                opened = [row for row, keep in zip(opened, keeps, strict=True) if keep]
        except BaseException:
            opened = values = []  # a traceback's locals hold no opened value
            raise
        return opened


def _predicate(place: Place, context: Any) -> Predicate:
    asked = asked_value(private.question_value(context, place.parameter))
    if asked is None:
        return lambda _: False  # nothing is equal to NULL, or like it
    return place.candidate.recheck.predicate(place.column.column.type, asked)  # type: ignore[arg-type]
