"""Relationships that compare sealed columns by tokens: which attribute has the value that is compared.

Where a related row is loaded for an object that is there, SQLAlchemy takes the value from the attribute of
the column that is compared, and a flush puts it into that of the other. These columns are hidden ones and
have no attributes: those of the sealed columns stand for them. Tokens are made where the statement is sent.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from sqlalchemy import Table
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Mapper, RelationshipProperty

from sqlalchemy_cmk.columns.token_columns import TokenColumn, token_indexes
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import ConfigurationError

_waiting: WeakSet[Mapper[Any]] = WeakSet()


def note_tokens(mapper: Mapper[Any], model: type[Any]) -> None:
    """Have the attributes of a new model's indexed columns stand for their hidden columns."""
    tables = [one for one in mapper.tables if isinstance(one, Table)]
    for table in tables:
        for one in (one for of_column in token_indexes(table).values() for one in of_column):
            try:
                attribute = mapper.get_property_by_column(one.sealed.column)
            except InvalidRequestError:
                continue  # the model leaves the column out
            private.stand_for(mapper, attribute, table.c[one.key])
    _waiting.add(mapper)


def refuse_subquery_loads() -> None:
    """Refuse relationships that would be loaded by a subquery, which has no hidden columns.

    Raises:
        ConfigurationError: naming one.
    """
    # Those of another registry wait: to ask for their relationships would configure them from in here.
    for mapper in [one for one in _waiting if one.configured]:
        _waiting.discard(mapper)
        for relationship in mapper.relationships:
            if relationship.lazy == "subquery" and _compares_tokens(relationship):
                raise ConfigurationError(
                    f'{relationship}: lazy="subquery" selects the columns that are compared, and those with '
                    'the tokens of a search index are hidden: take lazy="selectin"'
                )


def _compares_tokens(relationship: RelationshipProperty[Any]) -> bool:
    return any(isinstance(one, TokenColumn) for one in relationship.local_columns)
