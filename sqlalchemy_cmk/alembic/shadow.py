"""The shadow column: where a column's values are written in their other form until the two change places."""

from __future__ import annotations

SUFFIX = "__cmk"


def shadow_of(column: str) -> str:
    """Return the name of a column's shadow."""
    return f"{column}{SUFFIX}"


def is_shadow(column: str) -> bool:
    """Tell whether a column is a shadow."""
    return column.endswith(SUFFIX)
