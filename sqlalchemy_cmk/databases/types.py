"""Types that stand for another one on each database, as the key tables need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases import DATABASES, Database


def exact_text_type(length: int) -> TypeEngine[Any]:
    """Return the type of a text that every database compares byte by byte; some of them store bytes."""
    return _for_all(lambda database: database.exact_text_type(length))


def fixed_bytes_type(length: int) -> TypeEngine[Any]:
    """Return the type of bytes of one length, which may be part of a primary key on every database."""
    return _for_all(lambda database: database.fixed_bytes_type(length))


def long_bytes_type() -> TypeEngine[Any]:
    """Return the type of bytes of any length on every database."""
    return _for_all(lambda database: database.long_bytes_type())


def _for_all(type_of: Callable[[type[Database]], TypeEngine[Any]]) -> TypeEngine[Any]:
    type_ = usual = type_of(Database)
    for database in DATABASES:
        own = type_of(database)
        if repr(own) != repr(usual):
            type_ = type_.with_variant(own, *database.dialects)
    return type_
