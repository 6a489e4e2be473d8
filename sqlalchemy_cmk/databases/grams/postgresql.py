"""PostgreSQL: an array of integers under a GIN index."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, Dialect, Index
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases.grams.base import GramNames, GramStorage, tokens_of


class PostgreSQLGrams(GramStorage):
    """``BIGINT[]``: operators of other integer arrays are ambiguous where the extension intarray is there."""

    index_method = "USING gin "

    @property
    def type(self) -> TypeEngine[Any]:
        """``BIGINT[]``."""
        return ARRAY(BigInteger)

    def bind(self, packed: bytes) -> list[int]:
        """Return the tokens in a list."""
        return tokens_of(packed)

    def matching(
        self, names: GramNames, hidden: ColumnElement[Any], asked: ColumnElement[Any], dialect: Dialect
    ) -> ColumnElement[bool]:
        """Return that the array contains the set's."""
        return hidden.bool_op("@>")(asked)


def array_index(column: Column[Any]) -> Index:
    """Return the index by which PostgreSQL searches a column of arrays; other databases do not make it."""
    return Index(None, column, postgresql_using="gin").ddl_if(dialect="postgresql")
