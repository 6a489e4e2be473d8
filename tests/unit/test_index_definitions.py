"""An index is the same once it has been JSON, or the source of a migration."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.search import (
    Compound,
    Exact,
    NGram,
    Ordered,
    Prefix,
    Range,
    Suffix,
    fold,
    register_normalizer,
)
from sqlalchemy_cmk.search.definitions import definition_of, index_of, index_text

digits = register_normalizer("definition_digits", 2, lambda text: "".join(filter(str.isdecimal, text)))

INDEXES = [
    Exact(),
    Exact(bits=20, normalize=fold, name="short"),
    Exact(unique=True, across_tenants=True, normalize=digits),
    Prefix(min=1, max=4),
    Suffix(normalize=digits),
    NGram(4),
    Compound("last", "born", unique=True, name="both"),
    Range(date(1900, 1, 1), date(2100, 1, 1)),
    Range(datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), timedelta(seconds=1), arity=2),
    Ordered(Decimal("0.00"), Decimal("9.99"), Decimal("0.01")),
    Range(-5, 5),
]


@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_an_index_comes_back_from_its_definition(index: SearchIndex) -> None:
    assert index_of(definition_of(index)) == index


@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_the_source_of_an_index_makes_it_again(index: SearchIndex) -> None:
    imports: set[str] = set()
    text = index_text(index, imports)
    names: dict[str, Any] = {}
    exec("\n".join(sorted(imports)), names)
    assert eval(text, names) == index


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "{}",
        "[]",
        '{"kind": "eval"}',
        '{"kind": "exact", "bits": "__import__"}',
        '{"kind": "exact", "bits": 1000}',
        '{"kind": "exact", "is_exact": true}',
        '{"kind": "exact", "normalize": {"normalizer": ["unknown", 1]}}',
        '{"kind": "range", "min": {"os": "system"}, "max": 3}',
        '{"kind": "ordered", "min": {"decimal": "x"}, "max": 3}',
        "[" * 100_000,
    ],
)
def test_a_definition_that_no_index_has_written_is_none(definition: str) -> None:
    assert index_of(definition) is None
