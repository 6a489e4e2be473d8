"""Equality: one HMAC of the value's canonical plaintext. See :class:`Exact`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType

from sqlalchemy_cmk.codec import Codec, codec_for
from sqlalchemy_cmk.columns.candidates import Candidate
from sqlalchemy_cmk.columns.ignoring_case import BETWEEN_TOKENS
from sqlalchemy_cmk.columns.indexes import Question, SearchIndex, Tokens
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.normalizers import Normalizer, identity, normalizer_of
from sqlalchemy_cmk.search.rechecks import IsEqual
from sqlalchemy_cmk.search.texts import text_question
from sqlalchemy_cmk.search.tokens.exact import ExactTokens
from sqlalchemy_cmk.search.tokens.keys import index_info
from sqlalchemy_cmk.search.tokens.tags import TAG_BYTES, tag_of

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

MAX_BITS = 128
# Fewer bits give buckets on purpose: equal tokens of unlike values.
LEAST_EXACT_BITS = 64

_EQUALITY = (operators.eq, operators.ne, operators.is_distinct_from, operators.is_not_distinct_from)
_MEMBERSHIP = (operators.in_op, operators.not_in_op)
# What finds rows, and does not leave rows out: candidates can be dropped from that.
_FOUND = (operators.eq, operators.in_op)


@dataclass(frozen=True)
class Exact(SearchIndex):
    """Finds equal values: ``==``, ``!=``, ``in_``, ``not_in``, ``is_distinct_from`` and joins.

    With a normalizer it finds texts that are equal after both are normalized: ``column.iequals(x)``,
    ``func.lower(column) == x``, ``ilike`` without wildcards.

    Args:
        bits: length of the token, 1 to 128. With fewer than 64, unlike values share tokens on purpose: what
            is found is compared again once it is opened.
        normalize: what a text becomes before its token is made, such as ``fold``; by default, and for values
            that are not text, nothing.
        unique: refuse two rows of a tenant with equal (normalized) values.
        across_tenants: make tokens under the platform's DEK, so that a value is found, and is unique, across
            all tenants. Anyone who can read the database then sees which tenants' rows are equal, and the
            tokens stay usable after a tenant revokes its key.
        name: what the hidden column is called behind the column's name; ``exact`` if not given.

    Raises:
        ConfigurationError: ``bits`` is out of range, or too few for ``unique``; or ``normalize`` is no
            normaliser.
    """

    kind = "exact"

    bits: int = MAX_BITS
    normalize: Normalizer = identity
    unique: bool = False
    across_tenants: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= MAX_BITS:
            raise ConfigurationError(f"Exact: bits is a number from 1 to {MAX_BITS}")
        if self.unique and self.bits < MAX_BITS:
            raise ConfigurationError(
                "Exact: unique=True needs all 128 bits: unlike values share shorter tokens"
            )
        object.__setattr__(self, "normalize", normalizer_of(self.normalize))

    @property
    def is_exact(self) -> bool:
        """Whether equal tokens are of equal values, but for a chance below 2 to the power of -64."""
        return self.bits >= LEAST_EXACT_BITS

    def refuse_type(self, sealed: EncryptedType) -> None:
        """Refuse a normaliser for values that are not text."""
        if self.normalize != identity and not sealed.codec.text:
            raise ConfigurationError(
                f"Exact(normalize={self.normalize.name}): only text can be normalised, and {sealed!r} is none"
            )

    def max_bytes(self) -> int:
        """Return the length of a token in bytes."""
        return (self.bits + 7) // 8 + (0 if self.is_exact else TAG_BYTES)

    def info(self, context: Context) -> bytes:
        """Return what the index's key is for."""
        return index_info(self.kind, context, self.normalize.identifier, {"bits": self.bits})

    def tokens(self, key: Secret, sealed: EncryptedType) -> Tokens:
        """Return what makes tokens under a key."""
        # Short tokens of two tenants would meet.
        tag = b"" if self.is_exact else tag_of(key)
        codec = codec_for(sealed.type_, canonical=True)
        return _Tokens(tag, ExactTokens(key, self.bits), codec, self.normalize)

    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Answer equality and membership: by candidates where other values have the same token.

        Raises:
            UnsupportedOperation: the pattern of a ``like`` is none, or not known yet.
        """
        if question.operator in _FOUND and not (self.is_exact and self.normalize == identity):
            asked = question.parameter("", question.operands[0])
            compared = None if asked is None else question.tokens("").operate(question.operator, asked)
            return None if compared is None else Candidate(compared, IsEqual())
        found = self._asked(question) if self.is_exact else None
        if found is None:
            return None
        operator, other = found
        beside = question.tokens_of(other)
        asked = question.parameter("", other) if beside is None else beside
        return None if asked is None else question.tokens("").operate(operator, asked)

    def _asked(self, question: Question) -> tuple[OperatorType, Any] | None:
        """Return the operator between tokens, and the operand, that an operation comes to."""
        operator, operand = question.operator, question.operands[0] if question.operands else None
        is_normalized = self.normalize != identity
        if operator in (*_EQUALITY, *_MEMBERSHIP):
            return None if is_normalized else (operator, operand)
        if operator in BETWEEN_TOKENS:
            return (BETWEEN_TOKENS[operator], operand) if is_normalized else None
        asked = text_question(question) if question.type.codec.text and operand is not None else None
        if asked is None or asked.like.ignores_case is not is_normalized:
            return None
        pattern = asked.pattern(self.normalize)
        if pattern is None or pattern.exactly is None:
            return None
        return operators.ne if asked.is_negated else operators.eq, pattern.exactly


class _Tokens(Tokens):
    def __init__(self, tag: bytes, tokens: ExactTokens, codec: Codec, normalize: Normalizer) -> None:
        self._tag, self._made, self._codec = tag, tokens, codec
        self._normalize = None if normalize == identity else normalize

    def of_values(self, values: Sequence[Any]) -> list[bytes]:
        if self._normalize is not None:
            values = list(map(self._normalize, values))
        made = self._made.tokens(self._codec.encode_all(values))
        return [self._tag + token for token in made] if self._tag else made

    def of_question(self, part: Hashable, value: Any) -> bytes:
        return self.of_values((value,))[0]
