"""Indexes as text: JSON for the table of indexes, and Python source for migrations.

What the table holds is an adversary's input: it is read as values of a few kinds, and checked by the index
itself; nothing of it is run.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.errors import CmkError, ConfigurationError
from sqlalchemy_cmk.search.indexes.compound import Compound
from sqlalchemy_cmk.search.indexes.exact import Exact
from sqlalchemy_cmk.search.indexes.ngram import NGram
from sqlalchemy_cmk.search.indexes.ordered import Ordered
from sqlalchemy_cmk.search.indexes.prefix import Prefix, Suffix
from sqlalchemy_cmk.search.indexes.range import Range
from sqlalchemy_cmk.search.normalizers import Normalizer, fold, identity
from sqlalchemy_cmk.search.normalizers.base import find_normalizer

KINDS: dict[str, Any] = {one.kind: one for one in (Exact, Prefix, Suffix, Range, Ordered, NGram, Compound)}

_MODULE = "sqlalchemy_cmk.search"
_READERS: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
}
_OWN_NORMALIZERS = {fold.identifier: "fold", identity.identifier: "identity"}


def definition_of(index: SearchIndex) -> str:
    """Return an index as JSON, without the options that have their default."""
    options = {name: _as_json(value) for name, value in _options(index).items()}
    return json.dumps({"kind": index.kind, **options}, ensure_ascii=False)


def index_of(definition: str) -> SearchIndex | None:
    """Return the index of a definition; ``None`` if none is written there that exists here."""
    try:
        found = json.loads(definition)
        kind = KINDS[found.pop("kind")]
        options = {one.name for one in fields(kind) if one.init}
        if not found.keys() <= options:
            return None
        columns = found.pop("columns", ()) if kind is Compound else ()
        made: SearchIndex = kind(*columns, **{name: _from_json(value) for name, value in found.items()})
        return made
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, CmkError):
        return None


def index_text(index: SearchIndex, imports: set[str]) -> str:
    """Return an index as Python source, and note what that imports.

    Raises:
        ConfigurationError: it is of a kind, or has a normalizer, that no migration can name.
    """
    name = type(index).__name__
    if KINDS.get(index.kind) is not type(index):
        raise ConfigurationError(f"{name}: a migration knows the indexes of {_MODULE} only")
    imports.add(f"from {_MODULE} import {name}")
    if isinstance(index, Compound):
        return repr(index)
    texts = (f"{option}={_as_text(value, imports)}" for option, value in _options(index).items())
    return f"{name}({', '.join(texts)})"


def _options(index: SearchIndex) -> dict[str, Any]:
    known: Any = index
    if isinstance(index, Compound):
        given = {one.name: getattr(index, one.name) for one in fields(known)}
        return {name: value for name, value in given.items() if value}
    options = {one.name: (getattr(index, one.name), one.default) for one in fields(known) if one.init}
    return {name: value for name, (value, default) in options.items() if value != default}


def _as_json(value: Any) -> Any:
    if isinstance(value, Normalizer):
        return {"normalizer": [value.name, value.version]}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, date):
        return {"datetime" if isinstance(value, datetime) else "date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, str | int | None):
            return value
        raise TypeError
    ((kind, given),) = value.items()
    if kind == "normalizer":
        return find_normalizer(*given)
    if kind == "timedelta":
        return timedelta(*given)
    return _READERS[kind](given)


def _as_text(value: Any, imports: set[str]) -> str:
    if isinstance(value, Normalizer):
        own = _OWN_NORMALIZERS.get(value.identifier)
        if own is not None:
            imports.add(f"from {_MODULE} import {own}")
            return own
        imports.add(f"from {_MODULE}.normalizers.base import find_normalizer")
        return f"find_normalizer({value.name!r}, {value.version!r})"
    if isinstance(value, date | timedelta):
        imports.add("import datetime")
        return repr(value)
    if isinstance(value, Decimal):
        imports.add("from decimal import Decimal")
    return repr(value)
