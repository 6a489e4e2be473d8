"""Converters of stored values that share an owner and a header: singly, or all of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from sqlalchemy_cmk.ciphers import ColumnCipher, nonces
from sqlalchemy_cmk.codec import NO_VALUE
from sqlalchemy_cmk.errors import InvalidValue, TamperedError
from sqlalchemy_cmk.format import NotAuthentic

UNCHANGED = object()

# A value; a nonce under which nothing was sealed, for the new one; the row identity to which the old one is
# bound, and that for the new one, each empty if it is bound to none.
Convert = Callable[[Any, bytes, bytes, bytes], Any]
Recode = Callable[[bytes], bytes]
# The row identity of each value of a batch; None where they are bound to none.
BoundTo = Sequence[bytes] | None
ConvertAll = Callable[[Sequence[Any], BoundTo, BoundTo], list[Any]]
Encode = Callable[[Any], bytes]
EncodeAll = Callable[[Sequence[Any]], list[bytes]]


class Converter(NamedTuple):
    """What converts values.

    Attributes:
        one: converts one value.
        together: converts many values, each of which is known to begin with the same header; its errors name
            no value. Given the values, and the row identities of the old and the new ones.
    """

    one: Convert
    together: ConvertAll


def one_by_one(convert: Convert) -> Converter:
    """Return the converter that does the same with each value."""

    def together(values: Sequence[Any], openings: BoundTo, sealings: BoundTo) -> list[Any]:
        return list(map(convert, values, nonces(len(values)), each_of(openings), each_of(sealings)))

    return Converter(convert, together)


def each_of(identities: BoundTo) -> Iterable[bytes]:
    """Return the row identity of each value, empty if they are bound to none."""
    return repeat(b"") if identities is None else identities


def _keep(stored: Any, *_: bytes) -> Any:
    return UNCHANGED


KEEP = Converter(_keep, lambda values, *_: [UNCHANGED] * len(values))


def keep_if_it_opens(cipher: ColumnCipher) -> Converter:
    """Return what leaves values as they are that open as new ones."""

    def convert(stored: Any, nonce: bytes, opening: bytes, sealing: bytes) -> Any:
        cipher.open(stored, sealing)
        return UNCHANGED

    return one_by_one(convert)


def through(opening: ColumnCipher, sealing: ColumnCipher, recode: Recode | None = None) -> Converter:
    """Return what opens values and seals them again, in another form if ``recode`` makes it."""
    open_, seal = opening.open, sealing.seal_with

    def together(values: Sequence[Any], openings: BoundTo, sealings: BoundTo) -> list[Any]:
        plaintexts = opening.open_all(values, openings)
        return sealing.seal_all(list(plaintexts if recode is None else map(recode, plaintexts)), sealings)

    if recode is None:
        return Converter(
            lambda stored, nonce, opening, sealing: seal(open_(stored, opening), nonce, sealing), together
        )
    return Converter(
        lambda stored, nonce, opening, sealing: seal(recode(open_(stored, opening)), nonce, sealing), together
    )


def decoded(decode: Callable[[bytes], Any], plaintext: bytes) -> Any:
    """Return the value of an opened plaintext.

    Raises:
        TamperedError: it is none of the declared type.
    """
    kind = ""
    try:
        return decode(plaintext)
    except InvalidValue:
        raise
    except NO_VALUE as error:
        kind = type(error).__name__
    raise TamperedError(f"the opened bytes are not a value of the declared type ({kind})")


def opening(cipher: ColumnCipher, read: Callable[[bytes], Any]) -> Converter:
    """Return what opens values for good, and reads the plaintexts."""
    open_ = cipher.open

    def together(values: Sequence[Any], openings: BoundTo, _: BoundTo) -> list[Any]:
        return list(map(read, cipher.open_all(values, openings)))

    return Converter(lambda stored, _, identity, __: read(open_(stored, identity)), together)


def checking(converter: Converter) -> Converter:
    """Return what converts values, and leaves them as they are."""

    def check(stored: Any, *arguments: bytes) -> Any:
        converter.one(stored, *arguments)
        return UNCHANGED

    def together(values: Sequence[Any], openings: BoundTo, sealings: BoundTo) -> list[Any]:
        converter.together(values, openings, sealings)
        return [UNCHANGED] * len(values)

    return Converter(check, together)


def again(opening: ColumnCipher, sealing: ColumnCipher) -> Converter:
    """Return what opens values that were sealed in the new way under an older DEK."""
    open_, seal = opening.open, sealing.seal_with
    return one_by_one(lambda stored, nonce, _, identity: seal(open_(stored, identity), nonce, identity))


def either(first: Converter, second: Converter) -> Converter:
    """Return what converts a value in the second way if the first does not open it."""

    def convert(stored: Any, *arguments: bytes) -> Any:
        try:
            return first.one(stored, *arguments)
        except NotAuthentic:
            return second.one(stored, *arguments)

    return one_by_one(convert)


def sealing(cipher: ColumnCipher, encode: Encode, encode_all: EncodeAll) -> Converter:
    """Return what seals plain values."""
    seal = cipher.seal_with

    def together(values: Sequence[Any], _: BoundTo, sealings: BoundTo) -> list[Any]:
        return cipher.seal_all(encode_all(values), sealings)

    return Converter(lambda value, nonce, _, identity: seal(encode(value), nonce, identity), together)
