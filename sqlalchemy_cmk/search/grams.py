"""The condition that a row has all tokens of a question: compiled as its database searches sets of tokens."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from sqlalchemy import Boolean, TypeCoerce, bindparam, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import NullType

from sqlalchemy_cmk.columns.asked import chosen_slot
from sqlalchemy_cmk.columns.indexes import Question
from sqlalchemy_cmk.columns.token_columns import TokenIndex, second_of
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.grams.base import GramNames
from sqlalchemy_cmk.search.intervals import is_known


class HasGrams(FunctionElement[bool]):
    """A condition that holds where a row has the tokens of a question.

    Args:
        question: the operation that it answers.
        part: what is asked, for the tokens of the value.
        operand: the value, as a Python value or a parameter.
    """

    inherit_cache = True
    name = "has_grams"
    type = Boolean()

    def __init__(self, question: Question, part: Hashable, operand: Any) -> None:
        column = question.tokens(part)
        if is_known(operand):
            asked: Any = bindparam(None, operand, type_=column.type, unique=True)
        else:
            element = operand.__clause_element__() if hasattr(operand, "__clause_element__") else operand
            # Around the parameter: a lambda statement puts another in its place, of another type.
            asked = type_coerce(element, column.type)
        super().__init__(column, asked)

    def self_group(self, against: OperatorType | None = None) -> HasGrams:
        """Return it as it is: no database is asked whether it is equal to 1."""
        return self


def names_of(one: TokenIndex, schema: str | None = None, number: int = 0) -> GramNames:
    """Return what is named after a hidden column of an index.

    Args:
        one: the index.
        schema: the table's schema in the database; that of the table by default.
        number: which of its two hidden columns it is.
    """
    return GramNames(one.sealed.table, one.keys[number], schema or one.sealed.table.schema)


@compiles(HasGrams)
def _compile(element: HasGrams, compiler: Any, **options: Any) -> str:
    column, asked = element.clauses
    one: TokenIndex = column.type.token_index  # type: ignore[attr-defined]
    slot = chosen_slot(compiler, one)
    number = 0 if slot is None else slot.number
    first: Any = column.clause if isinstance(column, TypeCoerce) else column
    hidden = second_of(first, one) if number else first
    given: Any = asked.clause if isinstance(asked, TypeCoerce) else asked
    given = private.retyped(given, column.type)
    storage = database_of(compiler.dialect).grams
    if storage is None:  # shown by str(), for no database
        shown = private.retyped(given, NullType())
        return f"{compiler.process(hidden, **options)} @> {compiler.process(shown, **options)}"
    condition = storage.matching(names_of(one, number=number), hidden, given, compiler.dialect)
    return str(compiler.process(condition, **options))
