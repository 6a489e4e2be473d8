"""What texts contain: a token for each few characters in a row. See :class:`NGram`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement

from sqlalchemy_cmk.columns.candidates import Candidate
from sqlalchemy_cmk.columns.indexes import Question, SearchIndex, Tokens
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.grams import HasGrams
from sqlalchemy_cmk.search.intervals import is_known, is_parameter
from sqlalchemy_cmk.search.normalizers import Normalizer, fold, identity, normalizer_of
from sqlalchemy_cmk.search.normalizers.inside import certain
from sqlalchemy_cmk.search.patterns import Pattern
from sqlalchemy_cmk.search.texts import FitsPattern, Like, text_question
from sqlalchemy_cmk.search.tokens.keys import index_info
from sqlalchemy_cmk.search.tokens.ngrams import DEFAULT_SIZE, MAX_SIZE, NGramTokens

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType


@dataclass(frozen=True)
class NGram(SearchIndex):
    """Finds texts by what they contain: ``icontains``, ``ilike("%har%ris%")``, and any other pattern.

    It always finds candidates, which are compared again after they are opened. So use it in the WHERE clause
    of a SELECT that returns the column.

    Args:
        size: characters of a part of a text, 2 to 8; a search text has at least as many. With fewer, more
            other rows are found, and tokens reveal more of their text.
        normalize: what a text becomes before its tokens are made; ``fold`` by default, ``None`` for the text
            as it is. ``like`` and ``contains``, by which upper and lower case differ, find candidates on a
            folded index too; where a needle ends with a letter that may have an accent, they need a longer
            one.
        name: what the hidden column is called behind the column's name; ``ngram`` if not given.

    Raises:
        ConfigurationError: an option is out of its bounds.
    """

    kind = "ngram"
    stores_grams = True
    unique = False
    across_tenants = False

    size: int = DEFAULT_SIZE
    normalize: Normalizer = fold
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "normalize", normalizer_of(self.normalize))
        if type(self.size) is not int or not 2 <= self.size <= MAX_SIZE:
            raise ConfigurationError(f"NGram: size is a number from 2 to {MAX_SIZE}")

    def refuse_type(self, sealed: EncryptedType) -> None:
        """Refuse values that are not text."""
        if not sealed.codec.text:
            raise ConfigurationError(f"NGram: only texts have parts, and {sealed!r} is none")

    def max_bytes(self) -> int | None:
        """Return ``None``: the longer a text, the more tokens."""
        return None

    def info(self, context: Context) -> bytes:
        """Return what the index's key is for."""
        return index_info(self.kind, context, self.normalize.identifier, {"size": self.size})

    def tokens(self, key: Secret, sealed: EncryptedType) -> Tokens:
        """Return what makes tokens under a key."""
        return _Tokens(key, self)

    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Answer a question about a text, by candidates.

        Raises:
            UnsupportedOperation: the needle is too short; or the rows are asked for that do not have it.
        """
        asked = text_question(question)
        if asked is None or not self._answers(asked.like):
            return None
        if asked.is_negated:
            raise UnsupportedOperation(
                "NGram finds candidates, and what is not a candidate cannot be told from the rest: select "
                "the rows and compare in Python"
            )
        if is_known(asked.operand):
            if asked.operand is not None and (reason := self._refusal(asked.like, asked.operand)):
                raise UnsupportedOperation(reason)
        elif not is_parameter(asked.operand):
            return None
        compared = self.normalize if asked.like.ignores_case else identity
        return Candidate(HasGrams(question, asked.like, asked.operand), FitsPattern(asked.like, compared))

    def _answers(self, like: Like) -> bool:
        if like.ignores_case:
            return self.normalize != identity
        return certain("", self.normalize) is not None

    def _refusal(self, like: Like, value: Any) -> str:
        try:
            self.needles(like, value)
        except InvalidValue as error:
            return str(error)
        return ""

    def needles(self, like: Like, value: Any) -> list[str]:
        """Return what every normalized text contains that a question asks for: parts that have tokens.

        Raises:
            InvalidValue: there is none.
        """
        pattern = like.pattern(value)
        texts = pattern.normalized(self.normalize).texts if like.ignores_case else self._certain(pattern)
        found = [text for text in texts if len(text) >= self.size]
        if not found:
            more = ""
            if not like.ignores_case and self.normalize != identity:
                more = (
                    "; case counts here, and a letter at the end may have an accent behind it: give one "
                    "more, or ignore the case by icontains() or ilike()"
                )
            raise InvalidValue(
                f"the index NGram({self.size}) is asked for {self.size} characters in a row and more{more}"
            )
        return found

    def _certain(self, pattern: Pattern) -> list[str]:
        last = len(pattern.parts) - 1
        found = [
            certain(
                text,
                self.normalize,
                at_start=i == j == 0,
                at_end=i == last and j == len(part) - 1,
            )
            for i, part in enumerate(pattern.parts)
            for j, text in enumerate(part)
        ]
        return [text for text in found if text]


class _Tokens(Tokens):
    def __init__(self, key: Secret, index: NGram) -> None:
        self._index = index
        self._made = NGramTokens(key, index.size).tokens

    def of_values(self, values: Sequence[Any]) -> list[bytes]:
        if any(not isinstance(value, str) for value in values):
            raise InvalidValue("expected str")
        made = map(self._made, map(self._index.normalize, values))
        return [pack(f">{len(tokens)}q", *tokens) for tokens in made]

    def of_question(self, part: Hashable, value: Any) -> bytes:
        if not isinstance(part, Like):
            raise InvalidValue("NGram answers questions about texts only")
        tokens = {one for needle in self._index.needles(part, value) for one in self._made(needle)}
        return pack(f">{len(tokens)}q", *sorted(tokens))
