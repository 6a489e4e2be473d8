"""Questions whose tokens find candidates only: what is found is compared again once it is opened.

``hooks/candidates`` compares, and refuses a candidate wherever rows could not be dropped afterwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import BindParameter, Boolean, ColumnElement, TypeCoerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, Grouping
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeDecorator

from sqlalchemy_cmk.columns.presealed import Unsealed
from sqlalchemy_cmk.columns.token_columns import TokenIndex, TokenType

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

_COMPILED = "cmk_candidates"


class Recheck(ABC):
    """What opened values are compared with again. Its kinds are frozen dataclasses: part of cache keys.

    Attributes:
        exact: what to ask instead where rows cannot be dropped: an index or a spelling whose answer is exact,
            as in ``index=[Exact()] answers == everywhere``; empty if there is none.
    """

    exact: ClassVar[str] = ""

    @abstractmethod
    def predicate(self, sealed: EncryptedType, asked: Any) -> Callable[[Any], bool]:
        """Return what says whether an opened value, which is not ``None``, is one that was asked for.

        Args:
            sealed: the column's type.
            asked: the value of the question's parameter, not ``None``; a list where it is an ``in_``.

        Raises:
            InvalidValue: nothing can be asked so; the message does not show the value.
        """


class CandidateType(TypeDecorator[bool]):
    """The type of a candidate, by which its recheck is part of the statement's cache key.

    Args:
        recheck: what opened values are compared with again.
    """

    impl = Boolean
    cache_ok = True

    def __init__(self, recheck: Recheck) -> None:
        super().__init__()
        self.recheck = recheck


class Candidate(TypeCoerce[bool]):
    """A condition that holds for every row that is asked for, and perhaps for others.

    It compiles to its prefilter. The prefilter names the hidden column of one index, of the FROM whose rows
    are compared, and has the value that is asked for as a parameter of :class:`TokenType`; where several
    parameters stand for the same value, any of them gives it.

    Args:
        prefilter: the condition, of tokens.
        recheck: what opened values are compared with again.
    """

    inherit_cache = True

    def __init__(self, prefilter: ColumnElement[bool], recheck: Recheck) -> None:
        super().__init__(prefilter.self_group(against=operators.and_), CandidateType(recheck))

    def self_group(self, against: OperatorType | None = None) -> Candidate:
        """Return it as it is: its prefilter has the brackets that it needs beside an AND."""
        return self

    @property
    def recheck(self) -> Recheck:
        """What opened values are compared with again."""
        return self.type.recheck  # type: ignore[attr-defined, no-any-return]

    @property
    def source(self) -> tuple[TokenIndex, Any]:
        """The index that was asked, and the FROM whose rows it is asked about."""
        for part in iterate(self.clause):
            index = getattr(getattr(part, "type", None), "token_index", None)
            table = getattr(part, "table", None)
            if isinstance(index, TokenIndex) and table is not None:
                return index, table
        raise TypeError("a candidate's prefilter names the hidden column of its index")

    @property
    def parameter(self) -> BindParameter[Any]:
        """The parameter whose value is asked for."""
        for part in iterate(self.clause):
            if isinstance(getattr(part, "type", None), TokenType):
                inner = part.clause if isinstance(part, TypeCoerce) else part
                if isinstance(inner, BindParameter):
                    return inner
        raise TypeError("a candidate's prefilter has the value that is asked for as a parameter")


@compiles(Candidate)
def _compile(element: Candidate, compiler: Any, **options: Any) -> str:
    # Noted here, and not searched for afterwards: nothing that is compiled is missed.
    vars(compiler).setdefault(_COMPILED, []).append(element)
    return str(compiler.process(element.clause, **options))


def compiled_candidates(compiled: Any) -> tuple[Candidate, ...]:
    """Return the candidates in the SQL of a compiled statement, as often as they stand there."""
    return tuple(getattr(compiled, _COMPILED, ()))


def conjuncts(criteria: Any) -> Iterator[Any]:
    """Return the conditions all of which have to hold for a WHERE clause to hold."""
    if isinstance(criteria, Grouping):
        yield from conjuncts(criteria.element)
    elif isinstance(criteria, BooleanClauseList) and criteria.operator is operators.and_:
        for one in criteria.clauses:
            yield from conjuncts(one)
    elif criteria is not None:
        yield criteria


def asked_value(value: Any) -> Any:
    """Return the value that a parameter stands for, which hooks may have hidden already."""
    if isinstance(value, list | tuple | set | frozenset):
        return [asked_value(one) for one in value]
    return value.value if isinstance(value, Unsealed) else value
