"""What mappers know of columns without an attribute of their own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column
from sqlalchemy.orm import Mapper


def stand_for(mapper: Mapper[Any], attribute: Any, column: Column[Any]) -> None:
    """Have an attribute of a mapper stand for another column, where a relationship compares that."""
    mapper._columntoproperty[column] = attribute
