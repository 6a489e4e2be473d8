"""What a codec is, and MessagePack with integers of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

from sqlalchemy_cmk.errors import InvalidValue, TamperedError

BIG_INT_EXT = 1
# What says that bytes, or a stored value, are not a value of a type. Any other error is a fault of the code.
# Those of msgspec are no ValueErrors in every version.
NO_VALUE = (ValueError, msgspec.MsgspecError, LookupError, ArithmeticError, RecursionError)

Kind = TypeVar("Kind")
Convert = Callable[[Any], Any]
Packed = tuple[Convert, Convert, int | None]


class Codec:
    """Turns one column's values into plaintext bytes and back.

    Attributes:
        encode: value to bytes; raises :class:`InvalidValue`, whose message never holds the value.
        encode_read: the same for a value that was read from the database. An error in the application's own
            type that says nothing about the value is raised as it is.
        decode: bytes to value; raises one of :data:`NO_VALUE` where the bytes are no such value.
        max_bytes: the longest plaintext in bytes, or ``None`` if it is not bounded.
        from_plain: what the column held before it was sealed to value; raises one of :data:`NO_VALUE` where
            it is not such a value. ``None`` if that cannot be told for certain.
    """

    __slots__ = ("_unguarded", "decode", "encode", "encode_read", "from_plain", "max_bytes", "text")

    def __init__(
        self,
        encode: Convert,
        decode: Convert,
        max_bytes: int | None,
        *,
        text: bool = False,
        encode_read: Convert | None = None,
    ) -> None:
        self.encode = guarded(encode)
        self.encode_read = self.encode if encode_read is None else guarded(encode_read, NO_VALUE)
        self._unguarded = encode
        self.decode = decode
        self.max_bytes = max_bytes
        self.text = text
        self.from_plain: Convert | None = None

    def encode_all(self, values: Sequence[Any]) -> list[bytes]:
        """Return many values encoded.

        Raises:
            InvalidValue: as ``encode`` raises it, for the first value that does not fit.
        """
        try:
            return list(map(self._unguarded, values))
        except Exception:  # noqa: S110
            pass  # the error may hold a value: encode() raises one that does not
        return [self.encode(value) for value in values]

    def read_plain(self, stored: Any) -> Any:
        """Return the value of what a column held before it was sealed.

        Raises:
            TamperedError: it is not such a value; the error shows none.
        """
        kind = ""
        try:
            return self.from_plain(bytes(stored) if isinstance(stored, memoryview) else stored)  # type: ignore[misc]
        except NO_VALUE as error:
            kind = type(error).__name__
        # Outside of the except block: the error's context would hold the value.
        raise TamperedError(
            f"the stored value names no DEK, and is not a plaintext of the declared type either ({kind})"
        )


def guarded(encode: Convert, misfits: tuple[type[Exception], ...] = (Exception,)) -> Convert:
    """Return an encoder whose errors, those of some classes, are :class:`InvalidValue` and hold no value."""

    # The error is raised outside of the except block: its context would hold the plaintext.
    def guarded(value: Any) -> bytes:
        reason = ""
        try:
            return encode(value)  # type: ignore[no-any-return]
        except InvalidValue as error:
            reason = str(error)
        except UnicodeError:
            reason = "the text cannot be encoded as UTF-8"
        except misfits as error:
            reason = f"{kind_of(value)} does not fit the declared type ({type(error).__name__})"
        raise InvalidValue(reason)

    return guarded


def pack(encoder: Encoder, value: Any) -> bytes:
    """Encode a value as MessagePack; integers beyond 64 bits become extension type 1."""
    try:
        return encoder.encode(value)
    except OverflowError:
        return encoder.encode(_widened(value))


def unpacker(decoder: Decoder[Any], restore: Convert | None = None) -> Convert:
    """Return what decodes MessagePack, and makes a value of what was found.

    Args:
        decoder: raises one of :data:`NO_VALUE` where the bytes are nothing that it knows.
        restore: is given what was decoded; ``None`` if that is the value.
    """
    decode = decoder.decode

    def unpack(raw: bytes) -> Any:
        try:
            found = decode(raw)
        except TypeError as error:
            # So says msgspec before 0.22, of a map; any other is a fault of the code.
            if not str(error).startswith("unhashable type"):
                raise
        else:
            return found if restore is None else restore(found)
        raise msgspec.DecodeError("a map has a key that cannot be one")

    return unpack


def _widened(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return Ext(BIG_INT_EXT, str(value).encode())
    if isinstance(value, dict):
        return {key: _widened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_widened(item) for item in value]
    return value


def ext_hook(code: int, data: memoryview) -> int:
    """Decode extension type 1."""
    if code != BIG_INT_EXT:
        raise ValueError("unknown MessagePack extension")
    return int(bytes(data))


def wrong(expected: str, value: object) -> InvalidValue:
    """Return the error for a value of a wrong type, naming types only."""
    return InvalidValue(f"expected {expected}, not {kind_of(value)}")


def kind_of(value: object) -> str:
    """Return the name of a value's type, with its module: numpy's bool is not Python's."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def expect(kind: type[Kind], value: Any) -> Kind:
    """Return what was unpacked, if it is of the kind that was packed.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}")
    return value
