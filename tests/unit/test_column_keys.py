"""The column keys of one DEK, which stand in one piece of memory behind their columns' marks."""

from os import urandom

import pytest

from sqlalchemy_cmk.format import Context, Suite, column_info, column_key
from sqlalchemy_cmk.keys import column_keys
from sqlalchemy_cmk.keys.column_keys import DekWithColumnKeys
from sqlalchemy_cmk.runtime.secret import Secret

CONTEXTS = [Context.of_column(None, "patients", f"column {number}") for number in range(20)]


@pytest.mark.parametrize("suite", list(Suite))
def test_each_column_has_its_key_whether_it_is_new_or_kept(suite: Suite) -> None:
    dek = Secret(urandom(32))
    keys = DekWithColumnKeys(dek)
    for _ in range(2):
        made = [keys.of(column_info(suite, one), suite.key_bytes) for one in CONTEXTS]
        assert [key == column_key(dek, suite, one) for key, one in zip(made, CONTEXTS, strict=True)] == [
            True
        ] * 20


def test_a_mark_inside_a_key_is_not_taken_for_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that consist of the marks of other columns."""
    first, second = (column_info(Suite.GCM, one) for one in CONTEXTS[:2])
    real = column_keys.derived_key
    keys = DekWithColumnKeys(Secret(urandom(32)))
    keys.of(second, 32)
    mark = column_keys._marks[second]
    monkeypatch.setattr(column_keys, "derived_key", lambda *_: Secret(b"\xff" + 7 * mark + b"\xff" * 3))
    dek = Secret(urandom(32))
    keys = DekWithColumnKeys(dek)
    keys.of(first, 32)
    monkeypatch.setattr(column_keys, "derived_key", real)
    for _ in range(2):
        assert keys.of(second, 32) == real(dek, second, 32)
