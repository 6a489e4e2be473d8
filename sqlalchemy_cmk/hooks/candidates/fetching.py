"""Has the result of a statement with candidates give the rows that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult

from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.candidates.pages import Page, is_stream, page_of, send_again
from sqlalchemy_cmk.hooks.candidates.places import find_column, places_of
from sqlalchemy_cmk.hooks.candidates.rechecking import Rechecker


def drop_candidates(
    connection: Connection,
    result: CursorResult[Any],
    open_rows: private.OpenRows,
    sealed: Sequence[int],
    *,
    now: bool,
) -> bool:
    """Have a result's rows opened and compared again, if its statement has candidates.

    Args:
        connection: where the statement was sent.
        result: its result.
        open_rows: returns raw rows opened.
        sealed: where the rows carry sealed columns that are opened.
        now: read and open all rows now, unless the result is a stream.

    Returns:
        Whether the statement has candidates; otherwise nothing was done.

    Raises:
        UnsupportedOperation: the rows do not carry the column that is compared again.
    """
    context = result.context
    places = places_of(context.compiled)
    if not places:
        return False
    try:
        objects = private.result_objects(result)
        found = [(place, find_column(place, objects, sealed)) for place in places]
        known = [(place, at) for place, at in found if at is not None]
        if len(known) < len(found):
            raise UnsupportedOperation(
                f"{places[0].column.where}: the rows do not carry it, by which they are compared again: "
                "select it as a column, and no SQL text beside it"
            )
        rechecker = Rechecker(open_rows, known, context)
        page = page_of(context)
        if page.limit is None or is_stream(context):
            private.drop_fetched(result, rechecker.open, offset=page.offset, limit=page.limit, now=now)
        else:
            private.hand_out(result, _page(connection, result, rechecker, page))
    except BaseException:
        result.close()
        raise
    return True


def _page(
    connection: Connection, result: CursorResult[Any], rechecker: Rechecker, page: Page
) -> Sequence[Any]:
    """Return the rows of a page that were asked for."""
    raw = private.raw_page(result)
    while True:
        rows: list[Any] = []
        # Mostly the first part suffices, and the rest need not be opened.
        for part in (raw[: page.last], raw[page.last :]):
            if len(rows) < page.last:
                rows += rechecker.open(part)
        if len(rows) >= page.last or page.size is None or len(raw) < page.size:
            return rows[page.offset : page.last]
        page = page.larger()
        raw = send_again(connection, result.context, page)
