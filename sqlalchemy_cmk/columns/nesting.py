"""An ``EncryptedType`` inside another type would not meet its column: it is refused where it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy import Column, Table, event
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.errors import ConfigurationError


def sealed_inside(type_: TypeEngine[Any]) -> TypeEngine[Any] | None:
    """Return the sealed type that a type is made of: of its items, as a variant, or what it decorates."""
    seen: list[Any] = [type_]
    for one in seen:
        for part in vars(one).values():
            for inner in part.values() if isinstance(part, Mapping) else (part,):
                if isinstance(inner, TypeEngine) and not any(inner is known for known in seen):
                    if _is_sealed(inner):
                        return inner
                    seen.append(inner)
    return None


def refuse_inside(type_: TypeEngine[Any], where: str) -> None:
    """Refuse a type that has an ``EncryptedType`` inside.

    Args:
        type_: the type of a column.
        where: the column and a colon, for the message; empty if it is not known.

    Raises:
        ConfigurationError: it has.
    """
    if not _is_sealed(type_) and sealed_inside(type_) is not None:
        refuse_nesting(type_, where)


def refuse_nesting(outer: TypeEngine[Any], where: str) -> NoReturn:
    """Raise for a type that has an ``EncryptedType`` inside; the arguments are :func:`refuse_inside`'s."""
    raise ConfigurationError(
        f"{where}EncryptedType inside {type(outer).__name__} would be sealed and opened without its row: put "
        "it outside, EncryptedType(TheOtherType(...))"
    )


def _is_sealed(type_: Any) -> bool:
    # EncryptedType itself imports this module. hasattr would find what a TypeDecorator has of its impl.
    return "sealed_column" in vars(type_)


@event.listens_for(Column, "before_parent_attach")
def _look_inside(column: Column[Any], table: Any) -> None:
    """Look also into types that do not pass their column on, such as PostgreSQL's DOMAIN."""
    if isinstance(table, Table):
        refuse_inside(column.type, f"{table.fullname}.{column.name}: ")
