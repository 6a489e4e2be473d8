"""The canonical form of a JSON value, by the JSON Canonicalization Scheme (RFC 8785)."""

from __future__ import annotations

import json
from typing import Any

# RFC 8785 takes numbers for IEEE 754 doubles, which hold no larger integer exactly (RFC 7493, section 2.2).
LARGEST = 2**53 - 1


def canonical(value: Any) -> bytes:
    """Return a value's canonical form: no white space, the keys of objects in the order of their UTF-16.

    Args:
        value: objects, lists, texts, integers, booleans and ``None``. A certificate has no fractions, whose
            form is the difficult part of RFC 8785.

    Raises:
        ValueError: it holds something else, a text with half of a surrogate pair, or an integer that is too
            large.
    """
    try:
        return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("the keys of an object are texts")
        in_order = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        return {key: _sorted(one) for key, one in in_order}
    if isinstance(value, list | tuple):
        return [_sorted(one) for one in value]
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("an integer is too large")
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"{type(value).__name__} has no place in a certificate")
