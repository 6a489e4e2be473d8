"""Equality of several columns together: one HMAC of all their canonical plaintexts. See :class:`Compound`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement

from sqlalchemy_cmk.codec import codec_for
from sqlalchemy_cmk.columns.compounds import Combination, CompoundSearchIndex
from sqlalchemy_cmk.columns.indexes import Question, Tokens
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.normalizers import identity
from sqlalchemy_cmk.search.tokens.compound import CompoundTokens
from sqlalchemy_cmk.search.tokens.exact import DEFAULT_BITS
from sqlalchemy_cmk.search.tokens.keys import index_info

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

MAX_COLUMNS = 16


@dataclass(frozen=True, init=False, repr=False)
class Compound(CompoundSearchIndex):
    """Finds rows by the values of several sealed columns: ``==`` of each, joined by AND.

    Usage::

        class Patient(Base):
            __cmk_indexes__ = (Compound("last", "born", unique=True),)

        select(Patient).where(Patient.last == "Hartmann", Patient.born == date(1980, 5, 4))

    One of the comparisons may be an ``in_``. Anyone who can read the database sees which rows are equal in
    all of the columns, but nothing about a single column. A row in which one of them is NULL has no token.

    Args:
        columns: the names of two or more attributes, whose columns are sealed and in one table. Of a
            ``Table`` without a model, where it is declared by ``info={"cmk_indexes": (Compound(...),)}``,
            the keys of the columns.
        unique: refuse two rows of a tenant that are equal in all of them.
        across_tenants: make tokens under the platform's DEK, as for :class:`~sqlalchemy_cmk.search.Exact`.
        name: what the hidden column is called behind the first column's name; if not given, the names of the
            others and ``compound``.

    Raises:
        ConfigurationError: fewer than two names are given, more than 16, or one twice.
    """

    kind = "compound"

    columns: tuple[str, ...]
    unique: bool
    across_tenants: bool
    name: str | None

    def __init__(
        self, *columns: str, unique: bool = False, across_tenants: bool = False, name: str | None = None
    ) -> None:
        distinct = len(set(columns)) == len(columns)
        if not (2 <= len(columns) <= MAX_COLUMNS and distinct and all(type(one) is str for one in columns)):
            raise ConfigurationError(
                f"Compound: name 2 to {MAX_COLUMNS} different columns, as in Compound('last', 'born'); an "
                "index of one column is EncryptedType(..., index=[Exact()])"
            )
        given = {"columns": columns, "unique": unique, "across_tenants": across_tenants, "name": name}
        for key, value in given.items():
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        options = {"unique": self.unique, "across_tenants": self.across_tenants, "name": self.name}
        texts = [f"{name}={value!r}" for name, value in options.items() if value]
        return f"Compound({', '.join((*map(repr, self.columns), *texts))})"

    @property
    def suffix(self) -> str:
        """What follows the first column's name in that of the hidden column."""
        return self.name or "_".join((*self.columns[1:], self.kind))

    def over(self, columns: tuple[str, ...]) -> Compound:
        """Return the same over columns of other keys."""
        return Compound(*columns, unique=self.unique, across_tenants=self.across_tenants, name=self.name)

    def refuse_type(self, sealed: EncryptedType) -> None:
        """Refuse none: every sealed value has a canonical plaintext."""

    def max_bytes(self) -> int:
        """Return the length of a token in bytes."""
        return DEFAULT_BITS // 8

    def info(self, context: Context) -> bytes:
        """Return what the index's key is for."""
        return index_info(self.kind, context, identity.identifier, {"bits": DEFAULT_BITS})

    def tokens(self, key: Secret, sealed: EncryptedType) -> Tokens:
        """Return what makes tokens of one column's values, each as a combination of one."""
        return self.tokens_of(key, (sealed,))

    def tokens_of(self, key: Secret, types: Sequence[EncryptedType]) -> Tokens:
        """Return what makes tokens of combinations."""
        return _Tokens(CompoundTokens(key), [codec_for(one.type_, canonical=True) for one in types])

    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Answer nothing that is asked of one column."""
        return None


class _Tokens(Tokens):
    def __init__(self, tokens: CompoundTokens, codecs: Sequence[Any]) -> None:
        self._made, self._codecs = tokens, codecs

    def of_values(self, values: Sequence[Combination]) -> list[bytes]:
        each = zip(*(one.values for one in values), strict=True)
        plaintexts = [codec.encode_all(column) for codec, column in zip(self._codecs, each, strict=True)]
        return [self._made.token(row) for row in zip(*plaintexts, strict=True)]

    def of_question(self, part: Hashable, value: Combination) -> bytes:
        return self.of_values((value,))[0]
