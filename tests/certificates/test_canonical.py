"""The canonical form of JSON: known answers of RFC 8785, and what has no such form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_cmk.certificates.canonical import LARGEST, canonical

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_the_keys_of_section_3_2_3_are_in_its_order() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    form = canonical({key: "" for key in keys})
    assert list(json.loads(form)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_the_text_of_section_3_2_2_is_written_as_there() -> None:
    form = canonical(
        {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/", "literals": [None, True, False]}
    )
    assert form.hex(" ") == (
        "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c 22 73 74 "
        "72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
    )


@given(VALUES)
def test_a_form_reads_back_as_the_value_and_has_itself_as_its_form(value: Any) -> None:
    form = canonical(value)
    assert json.loads(form) == value
    assert canonical(json.loads(form)) == form


@pytest.mark.parametrize(
    "value", [1.5, float("nan"), LARGEST + 1, b"bytes", {1: "a"}, "\ud800", {"\udc00": 1}]
)
def test_what_has_no_exact_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        canonical({"of": [value]})


def test_a_value_that_is_nested_without_end_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="too deeply"):
        canonical(value)
