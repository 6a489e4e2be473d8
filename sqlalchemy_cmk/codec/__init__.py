"""Python values to plaintext bytes and back, by the column's declared type.

``str`` travels as UTF-8 and ``bytes`` as they are; everything else as MessagePack through msgspec.
Dates and times are ISO 8601 text inside it, so that an aware datetime keeps its offset; an integer
beyond 64 bits is extension type 1 holding its decimal digits. See :func:`codec_for`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from msgspec.msgpack import Decoder, Encoder
from sqlalchemy import JSON, types
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.codec.base import BIG_INT_EXT, NO_VALUE, Codec, Packed, ext_hook, pack, unpacker
from sqlalchemy_cmk.codec.plain import plain_reader
from sqlalchemy_cmk.codec.refused import refuse, refuse_other_values
from sqlalchemy_cmk.codec.scalars import (
    NEUTRAL,
    SIMPLE,
    bytes_check,
    enum_codec,
    from_iso,
    moment,
    numeric,
    restored_uuid,
    text_codec,
    uuid_for,
)
from sqlalchemy_cmk.codec.structures import array_of, is_structured, json_packed, python_codec

__all__ = ["BIG_INT_EXT", "NO_VALUE", "Codec", "codec_for", "is_structured"]


def codec_for(declared: TypeEngine[Any] | Any, *, canonical: bool) -> Codec:
    """Return the codec of a declared type.

    Args:
        declared: a SQLAlchemy type, or a Python type: a dataclass, a msgspec Struct, a Pydantic model,
            or an annotation such as ``list[int]``.
        canonical: equal values give equal bytes, as deterministic columns need it: Decimals without
            trailing zeros, aware datetimes in UTC, mappings in key order.

    Raises:
        ConfigurationError: the type is not one whose values can be sealed.
    """
    if not isinstance(declared, TypeEngine):
        return python_codec(declared, canonical)
    refuse_other_values(declared)
    declared = generic(declared)
    if isinstance(declared, types.TypeDecorator) and not isinstance(declared, types.Interval):
        return _decorated_codec(declared, canonical)
    codec = _codec_of(declared, canonical)
    codec.from_plain = plain_reader(declared, codec.decode)
    return codec


def generic(declared: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the generic type of a dialect's own, such as PostgreSQL's INTERVAL or MySQL's LONGBLOB."""
    if isinstance(declared, types.UserDefinedType | types.TypeDecorator):
        return declared
    try:
        make = _GENERIC.get(declared.python_type)
    except NotImplementedError:
        return declared
    return declared if make is None else make(declared)


_GENERIC: dict[type[Any], Callable[[Any], TypeEngine[Any]]] = {
    bytes: lambda declared: types.LargeBinary(getattr(declared, "length", None)),
    dt.timedelta: lambda declared: types.Interval(),
}


def _codec_of(declared: TypeEngine[Any], canonical: bool) -> Codec:
    if isinstance(declared, types.Enum):
        return enum_codec(declared)
    if isinstance(declared, types.String):
        return text_codec(declared)
    if isinstance(declared, types.LargeBinary):
        return Codec(bytes_check(declared.length), bytes, declared.length)
    check, restore, max_bytes = _packed(declared, canonical)
    encoder = Encoder(order="deterministic" if canonical else None)
    decode = unpacker(Decoder(ext_hook=ext_hook), restore)
    return Codec(lambda value: pack(encoder, check(value)), decode, max_bytes)


def _decorated_codec(declared: types.TypeDecorator[Any], canonical: bool) -> Codec:
    bind = declared.bind_processor(NEUTRAL) if _has_own(declared, "process_bind_param") else None
    result = declared.result_processor(NEUTRAL, None) if _has_own(declared, "process_result_value") else None
    inner = codec_for(declared.impl_instance, canonical=canonical)
    encode = (lambda value: inner.encode(bind(value))) if bind else inner.encode
    decode = (lambda raw: result(inner.decode(raw))) if result else inner.decode
    encode_read = (lambda value: inner.encode_read(bind(value))) if bind else inner.encode_read
    max_bytes, text = None if bind else inner.max_bytes, inner.text and not (bind or result)
    codec = Codec(encode, decode, max_bytes, text=text, encode_read=encode_read)
    read = inner.from_plain
    codec.from_plain = (lambda stored: result(read(stored))) if read and result else read
    return codec


def _has_own(declared: types.TypeDecorator[Any], name: str) -> bool:
    return getattr(type(declared), name) is not getattr(types.TypeDecorator, name)


def _packed(declared: TypeEngine[Any], canonical: bool) -> Packed:
    """Return check (value to MessagePack value), restore, and the longest plaintext in bytes."""
    if isinstance(declared, types.ARRAY):
        return array_of(declared, codec_for(declared.item_type, canonical=canonical))
    if isinstance(declared, JSON):
        return json_packed()
    if isinstance(declared, types.Uuid):
        return uuid_for(declared), restored_uuid(declared), 38
    if isinstance(declared, types.Numeric | types.Float):
        return numeric(declared, canonical)
    if isinstance(declared, types.DateTime):
        return moment(declared, canonical), from_iso(dt.datetime), 45
    if isinstance(declared, types.Time):
        return moment(declared, canonical), from_iso(dt.time), 35
    for sql_type, convert in SIMPLE:
        if isinstance(declared, sql_type):
            return convert
    refuse(declared)
