"""Finds the types of other libraries that the application's modules hold under a name.

A migration imports such a type by its name. Its ``repr`` may show its key, and is never written anywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.legacy import decrypts
from sqlalchemy_cmk.columns.type import EncryptedType


class Held(NamedTuple):
    """A type, and the module that holds it under a name."""

    module: str
    name: str
    type_: TypeEngine[Any]

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def held_types() -> list[Held]:
    """Return every type that decrypts which an imported module holds, each under one of its names."""
    return list({id(one.type_): one for one in _all()}.values())


def held_as(type_: Any) -> Held | None:
    """Return under which name an imported module holds a type that decrypts, if one does."""
    # Nearly every type of a migration is none, and the walk takes longer with every module.
    if not _may_be_held(type_):
        return None
    return next((one for one in _all() if one.type_ is type_), None)


def _all() -> Iterator[Held]:
    for module in list(sys.modules.values()):
        # What was not imported, such as __main__, has no name for a migration.
        if getattr(module, "__spec__", None) is None:
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, TypeEngine) and _may_be_held(value):
                yield Held(module.__name__, name, value)


def _may_be_held(value: object) -> bool:
    return not isinstance(value, EncryptedType) and decrypts(value)
