"""Refuses, with what to write instead, values that a conversion would seal as something they are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.ciphertext.looks import ciphertext_among
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.columns.legacy import decrypts, reader_of
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue

_BUILT_IN = "builtins"


def refuse_ciphertext(
    name: ColumnName, opens: TypeEngine[Any], seals: EncryptedType, stored: Sequence[Any], dialect: Dialect
) -> None:
    """Refuse to seal what looks like another library's ciphertext, or what that library's type does not open.

    Args:
        name: the column.
        opens: the type by which the migration reads it.
        seals: the type under which it is to be sealed.
        stored: values as the driver gives them.
        dialect: the database's.

    Raises:
        ConfigurationError: it looks so.
    """
    values = list(_read(name, opens, stored, dialect))
    looks = ciphertext_among(values)
    if looks is not None:
        line = f"op.encrypt_column({name.table!r}, {name.column!r}, {seals!r}, existing_type=OLD_TYPE, ...)"
        raise ConfigurationError(ciphertext_found(name, looks, line))


def ciphertext_found(name: ColumnName, looks: str, line: str) -> str:
    """Return what to say where a column holds ciphertext and its old type is not known."""
    return (
        f"{name} holds what looks like {looks}: sealed as it is, it would be read back as that. Nothing was "
        "changed. Keep the type that the column had, with its key, under a name in a module of the "
        f"application, such as OLD_TYPE = StringEncryptedType(String, key), and write\n    {line}\nIf these "
        "really are the plaintexts, add existing_plaintexts=True to the operation"
    )


def refuse_objects(
    name: ColumnName, opens: TypeEngine[Any], seals: EncryptedType, stored: Sequence[Any], dialect: Dialect
) -> None:
    """Refuse objects of a class of its own that the new type cannot seal, with the adapter that can.

    Args:
        name: the column.
        opens: the type by which the migration reads it, which makes the objects.
        seals: the type under which they are to be sealed.
        stored: values as the driver gives them.
        dialect: the database's.

    Raises:
        ConfigurationError: there are such objects.
    """
    if not decrypts(opens):
        return
    for value in _read(name, opens, stored, dialect):
        kind = type(value)
        if kind.__module__ == _BUILT_IN:
            continue
        try:
            seals.codec.encode_read(value)
            continue
        except InvalidValue:
            pass
        made, called = getattr(seals.type_, "__name__", repr(seals.type_)), kind.__name__
        raise ConfigurationError(
            f"{name}: existing_type makes objects of {kind.__module__}.{called}, which {seals!r} cannot "
            "seal. Nothing was changed. Declare how they are stored, and seal that, "
            f"EncryptedType({called}Type()), in the model and in the migration:\n"
            f"    class {called}Type(TypeDecorator):\n"
            f"        impl, cache_ok = {made}, True\n"
            "        def process_bind_param(self, value, dialect): return value and str(value)\n"
            f"        def process_result_value(self, value, dialect): return value and {called}(value)"
        )


def _read(name: ColumnName, opens: TypeEngine[Any], stored: Sequence[Any], dialect: Dialect) -> Iterator[Any]:
    """Yield values as a migration reads them.

    Raises:
        ConfigurationError: a type that decrypts does not open one of them.
    """
    try:
        read = reader_of(opens, dialect)
    except ConfigurationError:
        return  # it decrypts in the database
    for value in stored:
        kind = ""
        try:
            yield read(value)
        except Exception as error:  # what another library raises is not known
            kind = type(error).__name__
        if kind and decrypts(opens):
            raise ConfigurationError(
                f"{name}: existing_type={type(opens).__name__} does not open the stored values ({kind}). "
                "Nothing was changed. Give it the engine and the key under which they were written"
            )
