"""Keeps opened values out of ``echo="debug"``, which logs every row as the application receives it."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from sqlalchemy_cmk.columns.processors import column_of_processor
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private

LOGGER = "sqlalchemy.engine.Engine"

_covered: set[tuple[str, bool]] = set()


class RowRedaction(logging.Filter):
    """Replaces a logged row that has sealed columns.

    Args:
        every: replace any row: those of SQL text have no types that tell.
    """

    def __init__(self, every: bool = False) -> None:
        super().__init__()
        self._every = every

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record and let it through."""
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(_hidden(one) if self._every else _redacted(one) for one in record.args)
        return True


def _hidden(argument: object) -> object:
    return argument if private.logged_row(argument) is None else "(a row, not shown)"


def _redacted(argument: object) -> object:
    row = private.logged_row(argument)
    if row is None:
        return argument
    opens = any(column_of_processor(processor) for processor in private.row_processors(row))
    if opens or any(map(_is_sealed, private.row_types(row))):
        return "(a row with sealed columns, not shown)"
    return argument


def _is_sealed(type_: object) -> bool:
    """Return whether a type, or that of a container's elements, is a sealed one."""
    return isinstance(type_, EncryptedType) or isinstance(getattr(type_, "item_type", None), EncryptedType)


def redact_rows(engine: Engine | None = None, *, every: bool = False) -> None:
    """Put the redaction on the logger of all engines, or on that of an engine with a ``logging_name``.

    Args:
        engine: the engine.
        every: redact every row of this logger, not only those whose types say that they are opened.
    """
    name = LOGGER if engine is None or not engine.logging_name else f"{LOGGER}.{engine.logging_name}"
    if (name, every) not in _covered:
        _covered.add((name, every))
        logging.getLogger(name).addFilter(RowRedaction(every))
