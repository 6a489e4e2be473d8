"""What EncryptedType takes: options by name and of their type; keys come from the keyring."""

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, literal

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.columns.scheme import Scheme

# sqlalchemy-utils has StringEncryptedType(type_in, key, engine, padding), and older code EncryptedType.
OF_OTHERS: dict[str, Callable[[], Any]] = {
    "a key": lambda: EncryptedType(String, "secret"),
    "a key as bytes": lambda: EncryptedType(String, b"secret"),
    "a function that returns a key": lambda: EncryptedType(String, lambda: "secret"),
    "the option key": lambda: EncryptedType(String, key="secret"),
    "the option engine": lambda: EncryptedType(String, engine=object),
    "the option padding": lambda: EncryptedType(String, padding="pkcs5"),
    "a mistyped option": lambda: EncryptedType(String, determinstic=True),
    "an option without its name": lambda: EncryptedType(String, True),
    "key, engine and padding": lambda: EncryptedType(String, "secret", object, "pkcs5"),
}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_what_other_libraries_take_is_refused_with_a_word_on_keys(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"from the keyring: Keyring\(engine") as caught:
        OF_OTHERS[name]()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("deterministic", "no"),
        ("deterministic", "false"),
        ("deterministic", 1),
        ("deterministic", None),
        ("accept_plaintext", "yes"),
        ("row_bound", "false"),
        ("on_revoked", None),
        ("on_revoked", "hide"),
        ("on_revoked", True),
        ("owner", "acme"),
        ("owner", None),
        ("owner", ["row"]),
        ("context", ""),
        ("context", 5),
        ("context", ("only",)),
        ("context", ["table", "column"]),
        ("scheme", "randomized"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^EncryptedType: {option} is "):
        EncryptedType(String, **{option: value})


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="choose one"):
        EncryptedType(String, deterministic=True, row_bound=True)
    with pytest.raises(ConfigurationError, match="in place of all other options"):
        EncryptedType(String, deterministic=True, scheme=Scheme())


@pytest.mark.parametrize("wrong", ["secret", b"secret", 5, None, object()])
def test_a_first_argument_that_is_no_type_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="give a SQLAlchemy type") as caught:
        EncryptedType(wrong)
    assert "secret" not in str(caught.value)


def test_the_signature_shows_the_options() -> None:
    assert [*inspect.signature(EncryptedType).parameters][:3] == ["type_", "deterministic", "context"]


def test_copies_keep_the_options_and_belong_to_no_column() -> None:
    column = Column("ssn", EncryptedType(JSON, row_bound=True, on_revoked="seal"))
    Table("patients", MetaData(), Column("id", Integer, primary_key=True), column)
    type_: Any = column.type
    for copied in (type_.copy(), type_.with_options()):
        assert copied.scheme == type_.scheme
    for pinned in (copy.copy(type_), pickle.loads(pickle.dumps(type_))):
        assert pinned.scheme.context == ("patients", "ssn") and pinned.sealed_column is None
    assert type_.with_options(on_revoked="raise").scheme == Scheme(row_bound=True)


def test_the_cache_key_tells_columns_and_options_apart() -> None:
    types = [EncryptedType(String), EncryptedType(String, deterministic=True), EncryptedType(String(5))]
    table = Table("t", MetaData(), *(Column(f"c{i}", one) for i, one in enumerate(types * 2)))
    keys = [literal("x", column.type)._generate_cache_key() for column in table.c]
    assert len({one.key for one in keys if one is not None}) == 6
