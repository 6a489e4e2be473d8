"""What the database sees: the bytes of its tables, in the parts of which a sealed value is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, MetaData, Table, inspect, select
from sqlalchemy.orm import Session

from examples.clinic.models import Base
from sqlalchemy_cmk import CmkError, EncryptedType

ROWS = 8
SHOWN_BYTES = 24
LONGEST_TEXT = 40
# The layout of a sealed value; docs/format.md has all of it.
SUITE, DEK_ID, NONCE, TAG = 1, 8, 12, 16


@dataclass(frozen=True)
class Value:
    """A stored value.

    Attributes:
        parts: its parts in order, each with what it is.
        opened: what the application makes of it; ``None`` if it may not, or where nothing is sealed.
    """

    parts: Sequence[tuple[str, str]]
    opened: str | None = None


def tables(engine: Engine) -> list[str]:
    """Return the names of the tables, those of keys too; not those of SQLite's own full-text index."""
    return sorted(name for name in inspect(engine).get_table_names() if "_ngram_grams" not in name)


def rows_of(engine: Engine, name: str, clinic: str) -> tuple[list[str], list[list[Value]]]:
    """Return the columns of a table, and its first rows: a clinic's own first, which are opened as well."""
    raw = Table(name, MetaData(), autoload_with=engine, resolve_fks=False)
    columns = list(raw.columns)
    ours = [raw.c.clinic != clinic] if "clinic" in raw.c else []
    with engine.connect() as connection:
        stored = connection.execute(select(raw).order_by(*ours, *raw.primary_key).limit(ROWS)).all()
    opened = _opened(engine, name, clinic)
    sealed = sealed_names(name)
    keys = [column.name for column in raw.primary_key]
    names = [column.name for column in columns]
    shown = []
    for row in stored:
        values: Mapping[str, Any] = dict(zip(names, row, strict=True))
        mine = opened.get(tuple(values[key] for key in keys), {})
        shown.append([_value(values[one], one in sealed, mine.get(one)) for one in names])
    return names, shown


def sealed_names(name: str) -> set[str]:
    table = Base.metadata.tables.get(name)
    columns = [] if table is None else list(table.columns)
    return {one.name for one in columns if isinstance(one.type, EncryptedType)}


def _opened(engine: Engine, name: str, clinic: str) -> dict[tuple[Any, ...], dict[str, str]]:
    """Open a clinic's rows, by their primary keys; none where its key is switched off."""
    table = Base.metadata.tables.get(name)
    if table is None or "clinic" not in table.c:
        return {}
    query = select(table).where(table.c.clinic == clinic).order_by(*table.primary_key).limit(ROWS)
    try:
        with Session(engine) as session:
            rows = [dict(row) for row in session.execute(query).mappings()]
    except CmkError:
        return {}
    keys = [column.name for column in table.primary_key]
    return {
        tuple(row[key] for key in keys): {one: _text(row[one]) for one in sealed_names(name)} for row in rows
    }


def _value(value: Any, is_sealed: bool, opened: str | None) -> Value:
    if not is_sealed or not isinstance(value, bytes):
        return Value([("plain", _text(value))])
    dek, nonce = SUITE + DEK_ID, SUITE + DEK_ID + NONCE
    parts = (
        ("suite", value[:SUITE]),
        ("dek", value[SUITE:dek]),
        ("nonce", value[dek:nonce]),
        ("ciphertext", value[nonce:-TAG]),
        ("tag", value[-TAG:]),
    )
    return Value([(what, _hex(part)) for what, part in parts], opened)


def _hex(value: bytes) -> str:
    return value.hex() if len(value) <= SHOWN_BYTES else f"{value[:SHOWN_BYTES].hex()}…"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return _hex(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
