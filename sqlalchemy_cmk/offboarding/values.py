"""Rows as lines of JSON: what JSON has no form for becomes text that says it exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

import msgspec

from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked

# JSON has no such numbers.
_ODD_NUMBERS = {math.inf: "Infinity", -math.inf: "-Infinity"}


def line(value: dict[str, Any]) -> bytes:
    """Return an object as one line of JSON, in UTF-8.

    Dates, times and moments are ISO 8601, bytes base64, ``Decimal`` and UUID texts, members of enumerations
    their values, dataclasses, Pydantic and msgspec models objects. Numbers that are none are ``"NaN"``,
    ``"Infinity"`` and ``"-Infinity"``.

    Raises:
        ConfigurationError: a value has no form in JSON.
        KeyRevoked: a value could not be opened.
    """
    found = msgspec.to_builtins(value, enc_hook=_simpler, str_keys=True)
    try:
        return _dumped(found, ensure_ascii=False)
    except ValueError:  # such a number, or half of a surrogate pair
        return _dumped(_with_texts(found), ensure_ascii=True)


def row(names: Iterable[str], values: Iterable[Any]) -> bytes:
    """Return a row as a line; see :func:`line`."""
    return line(dict(zip(names, values, strict=True)))


def _simpler(value: Any) -> Any:
    if isinstance(value, Sealed):
        raise KeyRevoked(str(value), value.tenant)
    if hasattr(value, "model_dump"):  # a Pydantic model
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):  # a number or an array of numpy
        return value.tolist()
    if hasattr(value, "isoformat"):  # a moment of pandas
        return value.isoformat()
    if isinstance(
        value, IPv4Address | IPv6Address | IPv4Network | IPv6Network | IPv4Interface | IPv6Interface
    ):
        return str(value)
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    # The value itself is not quoted.
    raise ConfigurationError(
        f"a value of {type(value).__name__} has no form in JSON: export this table by hand"
    )


def _dumped(value: Any, *, ensure_ascii: bool) -> bytes:
    return (
        json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    )


def _with_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_texts(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _ODD_NUMBERS.get(value, "NaN")
    return value
