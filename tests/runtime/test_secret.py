"""A secret shows its bytes to who asks for them, and to nothing else."""

from __future__ import annotations

import copy
import pickle

import pytest

from sqlalchemy_cmk.runtime.secret import Secret

VALUE = b"correct horse battery staple 123"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, lambda one: f"{[one]}"])
def test_text_of_a_secret_holds_none_of_it(show: object) -> None:
    assert callable(show)
    assert "horse" not in show(Secret(VALUE)) and "32 bytes" in show(Secret(VALUE))


def test_a_secret_is_no_bytes_and_has_no_attributes_that_a_crash_reporter_would_walk() -> None:
    secret = Secret(VALUE)
    assert not isinstance(secret, bytes | bytearray | memoryview) and not hasattr(secret, "__dict__")
    assert secret.reveal() == VALUE and len(secret) == 32


def test_secrets_are_equal_by_their_bytes_and_never_to_bytes() -> None:
    assert Secret(VALUE) == Secret(VALUE) and Secret(VALUE) != Secret(b"other")
    assert Secret(VALUE) != VALUE


@pytest.mark.parametrize("make", [pickle.dumps, copy.deepcopy])
def test_a_secret_is_not_pickled(make: object) -> None:
    assert callable(make)
    with pytest.raises(TypeError, match="not pickled"):
        make(Secret(VALUE))


def test_a_secret_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(VALUE))
