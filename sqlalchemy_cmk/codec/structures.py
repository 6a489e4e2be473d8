"""Codecs of values made of values: JSON, arrays, dataclasses, msgspec Structs and Pydantic models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, get_origin, is_typeddict

import msgspec
from msgspec.msgpack import Decoder, Encoder
from sqlalchemy import JSON, types

from sqlalchemy_cmk.codec.base import (
    Codec,
    Convert,
    Packed,
    expect,
    ext_hook,
    kind_of,
    pack,
    unpacker,
    wrong,
)
from sqlalchemy_cmk.codec.refused import refuse_foreign_parts
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue


def json_packed() -> Packed:
    """Return packed for JSON."""
    return partial(_json_value, key=_json_key), partial(_json_value, key=partial(expect, str)), None


def _json_value(value: Any, key: Callable[[Any], str]) -> Any:
    """Return a value as Python's ``json`` would write and read it; MessagePack would take more.

    Subclasses of str, int and float lose their class, and tuples become lists.

    Args:
        value: the value.
        key: what makes the text of a dict's key.
    """
    if value is None or type(value) in _JSON_SCALARS:
        return value
    if value is JSON.NULL:
        return None
    for kind, plain in _JSON_SCALARS.items():
        if isinstance(value, kind):
            return plain(value)
    if isinstance(value, list | tuple):
        return [_json_value(item, key) for item in value]
    if isinstance(value, dict):
        return {key(name): _json_value(item, key) for name, item in value.items()}
    raise wrong("a JSON value", value)


# Each with what gives the value without its class: str() of an Enum's member is not its value.
_JSON_SCALARS: dict[type[Any], Convert] = {
    **{str: str.__str__, bool: bool, int: int.__int__, float: float.__float__}
}


def _json_key(key: Any) -> str:
    """Return the text that Python's ``json`` makes of a dict's key."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    raise InvalidValue(f"the keys of a JSON object are str, not {kind_of(key)}")


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

    def restore_item(value: Any) -> Any:
        if isinstance(value, list):
            return restore(value)
        return None if value is None else item.decode(expect(bytes, value))

    def restore(value: Any) -> Any:
        return as_list(restore_item(one) for one in expect(list, value))

    return check, restore, None


def is_structured(declared: Any) -> bool:
    """Return whether a Python type is one that :func:`codec_for` takes beside SQLAlchemy's types."""
    return (
        get_origin(declared) is not None
        or is_typeddict(declared)
        or dataclasses.is_dataclass(declared)
        or _is_pydantic(declared)
        or (isinstance(declared, type) and issubclass(declared, msgspec.Struct | list | dict | tuple | set))
    )


def python_codec(declared: Any, canonical: bool) -> Codec:
    """Return the codec of a Python type or annotation."""
    encoder = Encoder(order="deterministic" if canonical else None, enc_hook=_refuse_part)
    if _is_pydantic(declared):
        return _pydantic_codec(declared, encoder)
    try:
        decode = unpacker(Decoder(declared, ext_hook=ext_hook))
    except TypeError as error:
        raise ConfigurationError(f"EncryptedType cannot seal values of {declared!r}") from error
    refuse_foreign_parts(declared)
    kind = dict if is_typeddict(declared) else get_origin(declared) or declared
    exact = dataclasses.is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))

    def encode(value: Any) -> bytes:
        if isinstance(kind, type) and not (type(value) is kind if exact else isinstance(value, kind)):
            raise wrong(kind.__name__, value)
        raw = pack(encoder, value)
        _refuse_change(value, decode(raw))
        return raw

    return Codec(encode, decode, None)


def _refuse_part(part: Any) -> NoReturn:
    raise wrong("values of the declared type", part)


def _pydantic_codec(model: Any, encoder: Encoder) -> Codec:
    decode = unpacker(
        Decoder(ext_hook=ext_hook),
        lambda found: model.model_validate(found, strict=False, by_name=True, by_alias=False),
    )

    def encode(value: Any) -> bytes:
        if type(value) is not model:
            raise wrong(model.__name__, value)
        raw = pack(encoder, value.model_dump(round_trip=True, warnings=False))
        _refuse_change(value, decode(raw))
        return raw

    return Codec(encode, decode, None)


def _refuse_change(value: Any, restored: Any) -> None:
    """Refuse a value that would come back as another."""
    if not _same(value, restored):
        raise InvalidValue(f"a {type(value).__name__} with these contents would come back changed")


def _same(value: Any, restored: Any) -> bool:
    if value == restored:
        return True
    # NaN differs from itself.
    if isinstance(value, list | tuple) and isinstance(restored, list | tuple):
        return len(value) == len(restored) and all(map(_same, value, restored))
    if isinstance(value, dict) and isinstance(restored, dict):
        return value.keys() == restored.keys() and all(_same(value[key], restored[key]) for key in value)
    return type(value) is type(restored) and repr(value) == repr(restored)


def _is_pydantic(declared: Any) -> bool:
    return (
        isinstance(declared, type) and hasattr(declared, "model_validate") and hasattr(declared, "model_dump")
    )
