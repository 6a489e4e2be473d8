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


def replace_subquery_loads() -> None:
    """Have relationships that compare tokens loaded without a subquery where one is asked for.

    Its rows would be given to objects by the columns that are compared, and hidden ones are in no row.
    """
    # Those of another registry wait: to ask for their relationships would configure them from in here.
    for mapper in [one for one in _waiting if one.configured]:
        _waiting.discard(mapper)
        for relationship in mapper.relationships:
            if _compares_tokens(relationship):
                private.load_without_subqueries(relationship)


def _compares_tokens(relationship: RelationshipProperty[Any]) -> bool:
    return any(isinstance(one, TokenColumn) for one in relationship.local_columns)
