"""Codecs of values made of values: JSON, arrays, dataclasses, msgspec Structs and Pydantic models."""

from __future__ import annotations

import dataclasses
from typing import Any, get_origin

import msgspec
from msgspec.msgpack import Decoder, Encoder
from sqlalchemy import JSON, types

from sqlalchemy_cmk.codec.base import Codec, Packed, ext_hook, pack, wrong
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue


def json_value(value: Any) -> Any:
    """Check that a value is JSON, and nothing that MessagePack would take beyond it."""
    if value is JSON.NULL:
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidValue("the keys of a JSON object are str")
        return {str(key): json_value(item) for key, item in value.items()}
    raise wrong("a JSON value", value)


def array_of(declared: types.ARRAY[Any], item: Codec) -> Packed:
    """Return packed for an ARRAY type: each item in its own type's encoding."""
    as_list = tuple if declared.as_tuple else list
    depth = declared.dimensions

    def check(value: Any, level: int = 1) -> Any:
        if not isinstance(value, list | tuple):
            raise wrong("list", value)
        nested = level < depth if depth else any(isinstance(one, list | tuple) for one in value)
        if nested:
            return [check(one, level + 1) for one in value]
        return [None if one is None else item.encode(one) for one in value]

    def restore(value: Any) -> Any:
        if isinstance(value, list):
            return as_list(restore(one) for one in value)
        return None if value is None else item.decode(value)

    return check, restore, None


def is_structured(declared: Any) -> bool:
    """Tell whether a Python type is one that :func:`codec_for` takes beside SQLAlchemy's types."""
    return (
        get_origin(declared) is not None
        or dataclasses.is_dataclass(declared)
        or _is_pydantic(declared)
        or (isinstance(declared, type) and issubclass(declared, msgspec.Struct | list | dict | tuple | set))
    )


def python_codec(declared: Any, canonical: bool) -> Codec:
    """Return the codec of a Python type or annotation."""
    encoder = Encoder(order="deterministic" if canonical else None)
    if _is_pydantic(declared):
        return _pydantic_codec(declared, encoder)
    try:
        decoder = Decoder(declared, ext_hook=ext_hook)
    except TypeError as error:
        raise ConfigurationError(f"EncryptedType cannot seal values of {declared!r}") from error
    kind = get_origin(declared) or declared

    def encode(value: Any) -> bytes:
        if isinstance(kind, type) and not isinstance(value, kind):
            raise wrong(kind.__name__, value)
        raw = pack(encoder, value)
        decoder.decode(raw)
        return raw

    return Codec(encode, decoder.decode, None)


def _pydantic_codec(model: Any, encoder: Encoder) -> Codec:
    decoder = Decoder(ext_hook=ext_hook)

    def decode(raw: bytes) -> Any:
        return model.model_validate(decoder.decode(raw), strict=False, by_name=True, by_alias=False)

    def encode(value: Any) -> bytes:
        if not isinstance(value, model):
            raise wrong(model.__name__, value)
        raw = pack(encoder, value.model_dump(round_trip=True))
        decode(raw)
        return raw

    return Codec(encode, decode, None)


def _is_pydantic(declared: Any) -> bool:
    return (
        isinstance(declared, type) and hasattr(declared, "model_validate") and hasattr(declared, "model_dump")
    )
