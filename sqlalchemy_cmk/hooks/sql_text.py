"""SQL text in a dry run: it is sent as it is, and noted where it names a column that would be sealed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import CompoundSelect, Delete, Insert, Select, Table, TextClause, Update
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.expression import ColumnClause, TextualSelect

from sqlalchemy_cmk.columns.sql_text import is_statement, named_in, what_becomes_of_it
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported.operands import held
from sqlalchemy_cmk.hooks.unsupported.parts import parts_of
from sqlalchemy_cmk.keys.dry_run import metadatas_under_way

_BUILT = (Select, CompoundSelect, Insert, Update, Delete)

log = logging.getLogger(__name__)

_said: set[str] = set()


def note_sql_text(sent: str, compiled: Compiled | None) -> None:
    """Note each column that would be sealed and that a statement names in SQL text.

    Args:
        sent: the statement as the driver gets it.
        compiled: what it was compiled from; ``None`` if it was sent as a text.
    """
    tables = [table for one in metadatas_under_way() for table in one.tables.values()]
    statement: Any = None if compiled is None else compiled.statement
    try:
        if compiled is not None and isinstance(statement, _BUILT):
            parts = list(parts_of(compiled))
            own = {one.key for one in parts if isinstance(one, Table)}
            for text in _texts(parts):
                _note(text, [one for one in tables if one.key in own])
        else:
            columns = statement.selected_columns if isinstance(statement, TextualSelect) else ()
            _note(sent, _named(sent, tables), [one.name for one in columns if held(one)])
    except ConfigurationError as error:  # without sqlglot all else is noted
        if str(error) not in _said:
            _said.add(str(error))
            log.warning("%s", error)


def _named(text: str, tables: list[Table]) -> list[Table]:
    """Return the tables that a whole statement may name; others stay as they are, perhaps half declared."""
    return [one for one in tables if one.name.lower() in text.lower()] if is_statement(text) else []


def _note(text: str, tables: Iterable[Table], opened: Collection[str] = ()) -> None:
    columns = [one for table in tables for one in sealed_columns(table).values()]
    for one in named_in(text, columns, opened) if columns else ():
        if one.dry_run is not None:
            one.dry_run.note(UnsupportedOperation(what_becomes_of_it(one)))


def _texts(parts: list[Any]) -> Iterator[str]:
    for one in parts:
        if isinstance(one, TextClause):
            yield one.text
        elif isinstance(one, ColumnClause) and one.is_literal:
            yield one.name
