"""Keeps opened values out of ``echo="debug"``, which logs every row as the application receives it."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from sqlalchemy_cmk.columns.processors import column_of_processor
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private

LOGGER = "sqlalchemy.engine.Engine"

_covered: set[str] = set()

# The values of the execution option ``logging_token`` of connections none of whose rows are shown: those of
# SQL text have no types that tell.
hidden_tokens: set[str] = set()


class RowRedaction(logging.Filter):
    """Replaces a logged row that has sealed columns."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record and let it through."""
        if isinstance(record.args, tuple) and record.args:
            token = str(record.msg).partition("] ")[0].removeprefix("[")
            hide = _hidden if token in hidden_tokens else _redacted
            record.args = tuple(map(hide, record.args))
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


def redact_rows(engine: Engine | None = None) -> None:
    """Put the redaction on the logger of all engines, or on that of an engine with a ``logging_name``."""
    name = LOGGER if engine is None or not engine.logging_name else f"{LOGGER}.{engine.logging_name}"
    if name not in _covered:
        _covered.add(name)
        logging.getLogger(name).addFilter(RowRedaction())
