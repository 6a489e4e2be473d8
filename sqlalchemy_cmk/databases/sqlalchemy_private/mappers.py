"""What mappers know of columns without an attribute of their own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column
from sqlalchemy.orm import Mapper, RelationshipProperty


def stand_for(mapper: Mapper[Any], attribute: Any, column: Column[Any]) -> None:
    """Have an attribute of a mapper stand for another column, where a relationship compares that."""
    mapper._columntoproperty[column] = attribute


def load_without_subqueries(relationship: RelationshipProperty[Any]) -> None:
    """Have ``subqueryload()`` and ``lazy="subquery"`` of a relationship load as ``selectinload()`` does.

    Args:
        relationship: of a mapper that is configured.
    """
    loader: Any = _WithoutSubqueries(relationship)
    relationship._strategies[_SUBQUERY] = loader
    if relationship.strategy_key == _SUBQUERY:
        relationship.strategy = loader


_SUBQUERY = (("lazy", "subquery"),)


class _WithoutSubqueries:
    """Loads by ``selectin``; inside of a subquery load one by one.

    SQLAlchemy never ends where a subquery load leads through ``selectin`` to the same again.
    """

    def __init__(self, relationship: RelationshipProperty[Any]) -> None:
        self._selectin, self._immediate = (
            relationship._get_strategy((("lazy", way),)) for way in ("selectin", "immediate")
        )

    def setup_query(self, *_: Any, **__: Any) -> None:
        """Add nothing to the statement."""

    def create_row_processor(self, context: Any, *arguments: Any) -> None:
        """Have related rows loaded once those of a statement are there."""
        is_inside = ("subquery_rewritten_path", None) in context.query._execution_options
        loader = self._immediate if is_inside else self._selectin
        loader.create_row_processor(context, *arguments)
