"""What columns and hooks know of a search index: :class:`SearchIndex`. The kinds are in ``search/``.

An index is declared on its sealed column. Its tokens are in a hidden column of the same table
(``token_columns.py``), made under a DEK of purpose ``search``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import ColumnElement
from sqlalchemy.sql.operators import OperatorType

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType


class Tokens(ABC):
    """Makes the tokens of one index under one key. It may keep what it derives from the key."""

    @abstractmethod
    def of_values(self, values: Sequence[Any]) -> list[bytes]:
        """Return what is stored for values, none of which is ``None``.

        Raises:
            InvalidValue: the index cannot hold a value; the message does not show it.
        """

    @abstractmethod
    def of_question(self, part: Hashable, value: Any) -> bytes:
        """Return what stored tokens are compared with.

        Args:
            part: which of the tokens that a question needs: as the index has named it in its answer.
            value: what the caller gave.

        Raises:
            InvalidValue: the value is none that the index can be asked for.
        """


@dataclass(frozen=True, slots=True)
class Question:
    """An operation on an indexed column, as it is written.

    Attributes:
        type: the column's sealed type.
        operator: the operator of SQLAlchemy.
        operands: the other operands.
        options: of the operator, such as ``escape``.
        tokens: given the name of a part, returns the hidden column with a type that makes that part's token
            of a parameter.
        tokens_of: the same for an operand that is a sealed column with an equal index; ``None`` for any
            other.
        parameter: given the name of a part and an operand, returns the parameter whose value becomes that
            part's token, or a list of them for a list; ``None`` for SQL, which gives no tokens.
    """

    type: EncryptedType
    operator: OperatorType
    operands: tuple[Any, ...]
    options: dict[str, Any]
    tokens: Callable[[Hashable], ColumnElement[Any]]
    tokens_of: Callable[[Any], ColumnElement[Any] | None]
    parameter: Callable[[str, Any], Any]


class SearchIndex(ABC):
    """A search index as it is declared. Its kinds are frozen dataclasses, with the options as fields.

    Attributes:
        kind: what it is called in the name of its hidden column.
        stores_grams: whether it stores a set of 64-bit tokens, and not one token.
    """

    kind: ClassVar[str]
    stores_grams: ClassVar[bool] = False

    name: str | None
    unique: bool
    across_tenants: bool

    @property
    def suffix(self) -> str:
        """What follows the column's name in that of the hidden column."""
        return self.name or self.kind

    @abstractmethod
    def refuse_type(self, sealed: EncryptedType) -> None:
        """Refuse a column whose values it cannot index.

        Raises:
            ConfigurationError: it cannot.
        """

    @abstractmethod
    def max_bytes(self) -> int | None:
        """Return the length of the longest token in bytes; ``None`` if tokens are not bounded."""

    @abstractmethod
    def info(self, context: Context) -> bytes:
        """Return what the index's key is for: its kind, the column's context and all that changes tokens."""

    @abstractmethod
    def tokens(self, key: Secret, sealed: EncryptedType) -> Tokens:
        """Return what makes tokens under a key of 32 bytes."""

    @abstractmethod
    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Return the SQL that answers a question; ``None`` if this index does not.

        Raises:
            UnsupportedOperation: it answers such questions, but not this one; the message says why.
        """


def indexes_of(given: object) -> tuple[SearchIndex, ...]:
    """Return the indexes that the option ``index=`` names.

    Raises:
        ConfigurationError: it is not a sequence of indexes, or two of them have the same name.
    """
    found = (given,) if isinstance(given, SearchIndex) else given
    if not isinstance(found, list | tuple) or not all(isinstance(one, SearchIndex) for one in found):
        raise ConfigurationError(
            "EncryptedType: index is a list of search indexes, such as [Exact()] or [Prefix(), NGram(3)]"
        )
    names = [one.suffix for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"EncryptedType: two indexes are called {name!r}: give one of them another name, as in "
                f'Exact(name="{name}2")'
            )
    return tuple(found)
