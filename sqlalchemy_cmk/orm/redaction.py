"""Keeps opened values out of ``echo="debug"``, which logs every row as the application receives it."""

from __future__ import annotations

import logging

from sqlalchemy_cmk.column import OPENS
from sqlalchemy_cmk.orm import private


class RowRedaction(logging.Filter):
    """Replaces a logged row that has sealed columns."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record and let it through."""
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(_redacted(one) for one in record.args)
        return True


def _redacted(argument: object) -> object:
    row = getattr(argument, "row", None)
    if row is None:
        return argument
    if any(getattr(processor, OPENS, False) for processor in private.sealed_processors(row)):
        return "(a row with sealed columns, not shown)"
    return argument


def redact_rows(logger: str) -> None:
    """Put the redaction on a logger."""
    logging.getLogger(logger).addFilter(RowRedaction())
