"""SQL text over sealed columns on an engine that does not read it: warned of, or refused."""

from __future__ import annotations

import logging
import re
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, MetaData, Table, TextClause

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.keys.binding.protection import Protection, keyrings_of, protection_of
from sqlalchemy_cmk.keys.dry_run import dry_run_of
from sqlalchemy_cmk.keys.raw_sql import OPTION, guarded
from sqlalchemy_cmk.runtime.places import is_sent_by_us

log = logging.getLogger("sqlalchemy_cmk.sql")

MAX_KEPT = 1000

# Writes all columns of a table without naming one.
_UNNAMED = r"\bINTO\s+\S*{table}\W*\s(?:VALUES|SELECT)\b"


class _Texts:
    """The texts of one metadata's statements, and the sealed column that each names.

    Args:
        metadata: the metadata.
    """

    def __init__(self, metadata: MetaData) -> None:
        self.count = len(metadata.tables)
        # A table may be half declared, or wrongly: what uses it says so.
        tables = {table: _sealed(table) for table in metadata.tables.values()}
        self._tables = [
            (re.compile(rf"(?<!\w){re.escape(table.name)}(?!\w)", re.IGNORECASE), sealed)
            for table, sealed in tables.items()
            if sealed
        ]
        self._kept: dict[str, SealedColumn | None] = {}
        self.said: set[str] = set()

    def named(self, text: str) -> SealedColumn | None:
        """Return a sealed column that a text may name; ``None`` if it names none."""
        try:
            return self._kept[text]
        except KeyError:
            pass
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
            self.said.clear()
        found = self._kept[text] = self._look(text)
        return found

    def _look(self, text: str) -> SealedColumn | None:
        for table, columns in self._tables:
            if table.search(text) is None:
                continue
            words = {one.casefold() for one in re.findall(r"\w+", text)}
            named = [one for one in columns if one.column.name.casefold() in words]
            unnamed = _UNNAMED.format(table=re.escape(columns[0].table.name))
            if named or re.search(r"(?<!\()\*", text) or re.search(unnamed, text, re.IGNORECASE):
                return named[0] if named else columns[0]
        return None


def _sealed(table: Table) -> list[SealedColumn]:
    found = (one.type.sealed_column for one in table.columns if isinstance(one.type, EncryptedType))
    return [one for one in found if one is not None and one.column.table is table]


_texts: WeakKeyDictionary[MetaData, _Texts] = WeakKeyDictionary()


def guard_text(connection: Connection, statement: str, context: Any) -> None:
    """Warn of SQL text that names a sealed column, or refuse it, as the keyring that serves it says.

    Statements of this library's own pass, and those on an engine that reads them.

    Args:
        connection: where it is sent.
        statement: the text.
        context: SQLAlchemy's execution context.

    Raises:
        UnsupportedOperation: the keyring was made with ``raw_sql="refuse"``.
    """
    compiled = getattr(context, "compiled", None)
    if not guarded or (compiled is not None and not isinstance(compiled.statement, TextClause)):
        return
    for metadata in list(guarded):
        protection = protection_of(metadata)
        if protection.of_engine(connection.engine) is None:
            _leave_alone(metadata, protection)
        else:
            column = _texts_of(metadata).named(statement)
            if column is not None and dry_run_of(metadata) is None:
                _judge(connection, metadata, column, statement)


def _leave_alone(metadata: MetaData, protection: Protection) -> None:
    """Look no more at a metadata whose keyrings were all closed, or are gone; a new one has it looked at."""
    if not protection.keyrings:
        guarded.discard(metadata)
        if protection.keyrings:  # one came meanwhile
            guarded.add(metadata)


def _texts_of(metadata: MetaData) -> _Texts:
    found = _texts.get(metadata)
    if found is None or found.count != len(metadata.tables):
        found = _texts[metadata] = _Texts(metadata)
    return found


def _judge(connection: Connection, metadata: MetaData, column: SealedColumn, statement: str) -> None:
    keyrings = (one for one in keyrings_of(metadata) if one.engines.of_engine(connection.engine) is not None)
    keyring = next(keyrings, None)
    allowed = connection.get_execution_options().get(OPTION)
    if keyring is None or allowed is not None or keyring.raw_sql == "allow" or is_sent_by_us():
        return
    message = (
        f"SQL text names {column.where}: it reads, compares and writes the stored bytes. Run it on "
        "sqlalchemy_cmk.dbapi.transparent(engine, keyring), which seals and opens, or use the model; "
        f"execution_options({OPTION}='allow') lets a connection send it as it is"
    )
    if keyring.raw_sql == "refuse":
        raise UnsupportedOperation(message)
    said = _texts_of(metadata).said
    if statement not in said:
        said.add(statement)
        log.warning("%s", message)
