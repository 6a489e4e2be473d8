"""Groups the values of a batch, so that those of one owner and one DEK are converted together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag

from sqlalchemy_cmk.errors import InvalidValue, TamperedError, TenantRequired
from sqlalchemy_cmk.rekey.values import MoveValues

DAMAGE = (TamperedError, InvalidValue, TenantRequired)
# What a value may raise that is NULL, has no known header, or is damaged: it is looked at again by itself.
UNUSUAL = (*DAMAGE, InvalidTag, ValueError, LookupError, TypeError)

# So few values are not worth a call for all of them.
_TOGETHER = 4


class Groups(NamedTuple):
    """The values of a batch in groups.

    Attributes:
        parts: the positions of each group's values, with whether these are alike.
        names: the owners of all values, each with what a value of theirs is known by.
    """

    parts: list[tuple[Sequence[int], bool]]
    names: list[tuple[Any, Any]]


def groups_of(move: MoveValues, owners: Sequence[Any], values: Sequence[Any]) -> Groups:
    """Return values in groups.

    Alike are those of one owner and one header. NULLs, and the few that share it with few others, are in a
    group that is not.

    Args:
        move: names the values.
        owners: what the tenant column of each row holds.
        values: the values, of one row or more.
    """
    try:
        if owners.count(owners[0]) == len(owners) and move.are_alike(values):
            return Groups([(range(len(values)), True)], [(owners[0], move.name_of(values[0]))])
    except UNUSUAL:
        pass
    groups: dict[Any, list[int]] = {}
    for i, (owner, value) in enumerate(zip(owners, values, strict=True)):
        try:
            name = None if value is None else (owner, move.name_of(value))
            groups.setdefault(name, []).append(i)
        except UNUSUAL:
            groups.setdefault(None, []).append(i)
    large = [group for name, group in groups.items() if name is not None and len(group) >= _TOGETHER]
    small = sorted(set(range(len(values))).difference(*large))
    parts: list[tuple[Sequence[int], bool]] = [(group, True) for group in large]
    return Groups([*parts, (small, False)] if small else parts, [one for one in groups if one is not None])
