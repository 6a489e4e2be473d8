"""Reads what another library's type has written into a column. See :class:`LegacyTypes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from sqlalchemy import Dialect, TypeDecorator, column
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeEngine, to_instance

from sqlalchemy_cmk.codec import Codec
from sqlalchemy_cmk.databases.comparing import python_type_of
from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.format import begins_sealed
from sqlalchemy_cmk.runtime.kinds import several

Read = Callable[[Any], Any]

_NEUTRAL = DefaultDialect()


def legacy_types(given: Iterable[Any]) -> tuple[TypeEngine[Any], ...]:
    """Return the types that ``accept_legacy`` names.

    Raises:
        ConfigurationError: one of them decrypts nothing, so that any value would be read by it.
    """
    if isinstance(given, str | bytes | type | TypeEngine):
        raise ConfigurationError(
            "EncryptedType: accept_legacy is a list of types, "
            "as in accept_legacy=[StringEncryptedType(String, key)]"
        )
    several("a list of types").require("accept_legacy", given)
    types = tuple(to_instance(one) for one in given)
    for one in types:
        if not decrypts(one):
            raise ConfigurationError(
                "EncryptedType: accept_legacy takes types of other libraries that decrypt what they read, "
                f"and {type(one).__name__} does not; accept_plaintext=True reads what nothing has encrypted"
            )
    return types


def decrypts(type_: Any) -> bool:
    """Return whether a type makes something else of text or bytes, as one that decrypts does."""
    if not isinstance(type_, TypeDecorator) or python_type_of(type_.impl_instance) not in (str, bytes):
        return False
    return type(type_).process_result_value is not TypeDecorator.process_result_value


def reader_of(type_: TypeEngine[Any], dialect: Dialect = _NEUTRAL) -> Read:
    """Return what reads a stored value by a type of another library, in the form in which that wrote it.

    Raises:
        ConfigurationError: the type decrypts in the database, not here.
    """
    decrypt = type_.result_processor(dialect, None)
    whole: Any = column("value")
    computed = type_.column_expression(whole)
    if computed is not None and computed is not whole:
        raise ConfigurationError(
            f"{type(type_).__name__} decrypts in the database: seal its column in one migration, "
            "op.encrypt_column(..., existing_type=...)"
        )
    kind = python_type_of(type_.impl_instance if isinstance(type_, TypeDecorator) else type_)
    if decrypt is None:
        return lambda stored: _as(kind, stored)
    return lambda stored: decrypt(_as(kind, stored))


class LegacyTypes:
    """Opens values that are not sealed by the types of other libraries.

    Args:
        types: the types, in the order in which they are tried.
        codec: of the values of the sealed column; what a type returns has to be one of them.
    """

    def __init__(self, types: tuple[TypeEngine[Any], ...], codec: Codec) -> None:
        self._types = types
        self._codec = codec

    @cached_property
    def _readers(self) -> list[Read]:
        # At first use: a type may ask for its key here.
        return [reader_of(one) for one in self._types]

    @property
    def max_bytes(self) -> int | None:
        """The longest value that the types have written, in bytes; ``None`` if it is not bounded."""
        longest = 0
        for one in self._types:
            length = getattr(one.impl_instance, "length", None) if isinstance(one, TypeDecorator) else None
            if length is None:
                return None
            longest = max(longest, 4 * int(length))  # UTF-8, where it is text
        return longest

    def read(self, stored: Any) -> Any:
        """Return the value that the first type which opens it returns.

        Raises:
            TamperedError: none opens it, or it begins like a sealed value.
            ConfigurationError: a type decrypts in the database, not here.
        """
        if begins_sealed(stored):
            raise TamperedError("the stored value begins like a sealed one, and is none: it was truncated")
        kinds = []
        for read in self._readers:
            try:
                return self._codec.decode(self._codec.encode_read(read(stored)))
            except Exception as error:  # what another library raises is not known
                kinds.append(type(error).__name__)
        # Outside of the except block: an error's context may hold the value.
        raise TamperedError(
            f"the stored value is not sealed, and no type of accept_legacy opens it ({', '.join(kinds)})"
        )


def _as(kind: Any, stored: Any) -> Any:
    """Return a stored value as the type has written it: a column of bytes holds its text as bytes."""
    value = bytes(stored) if isinstance(stored, memoryview | bytearray) else stored
    if kind is str and isinstance(value, bytes):
        return value.decode()
    return value.encode() if kind is bytes and isinstance(value, str) else value
