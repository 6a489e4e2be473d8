"""What a codec is, and MessagePack with integers of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.msgpack import Encoder, Ext

from sqlalchemy_cmk.errors import InvalidValue, TamperedError

BIG_INT_EXT = 1

Kind = TypeVar("Kind")
Convert = Callable[[Any], Any]
Packed = tuple[Convert, Convert, int | None]


class Codec:
    """Turns one column's values into plaintext bytes and back.

    Attributes:
        encode: value to bytes; raises :class:`InvalidValue`, whose message never holds the value.
        decode: bytes to value; raises some exception where the bytes are no such value.
        max_bytes: the longest plaintext in bytes, or ``None`` where it is not bounded.
        from_plain: what the column held before it was sealed to value; raises some exception where it is
            no such value. ``None`` where that cannot be told for certain.
    """

    __slots__ = ("decode", "encode", "from_plain", "max_bytes", "text")

    def __init__(
        self, encode: Convert, decode: Convert, max_bytes: int | None, *, text: bool = False
    ) -> None:
        self.encode = guarded(encode)
        self.decode = decode
        self.max_bytes = max_bytes
        self.text = text
        self.from_plain: Convert | None = None

    def read_plain(self, stored: Any) -> Any:
        """Return the value of what a column held before it was sealed.

        Raises:
            TamperedError: it is no such value; the error shows none.
        """
        kind = ""
        try:
            return self.from_plain(bytes(stored) if isinstance(stored, memoryview) else stored)  # type: ignore[misc]
        except Exception as error:
            kind = type(error).__name__
        # Outside of the except block: the error's context would hold the value.
        raise TamperedError(
            f"the stored value names no DEK, and is no plaintext of the declared type either ({kind})"
        )


def guarded(encode: Convert) -> Convert:
    """Return an encoder whose errors are :class:`InvalidValue` and hold no value."""

    # The error is raised outside of the except block: its context would hold the plaintext.
    def guarded(value: Any) -> bytes:
        reason = ""
        try:
            return encode(value)  # type: ignore[no-any-return]
        except InvalidValue as error:
            reason = str(error)
        except UnicodeError:
            reason = "the text cannot be encoded as UTF-8"
        except Exception as error:
            reason = f"a {type(value).__name__} does not fit the declared type ({type(error).__name__})"
        raise InvalidValue(reason)

    return guarded


def pack(encoder: Encoder, value: Any) -> bytes:
    """Encode a value as MessagePack; integers beyond 64 bits become extension type 1."""
    try:
        return encoder.encode(value)
    except OverflowError:
        return encoder.encode(_widened(value))


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
    return InvalidValue(f"expected {expected}, not {type(value).__name__}")


def expect(kind: type[Kind], value: Any) -> Kind:
    """Return what was unpacked, if it is of the kind that was packed.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}")
    return value
