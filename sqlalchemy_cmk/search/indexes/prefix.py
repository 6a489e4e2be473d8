"""What texts begin or end with: a few bytes for each prefix. See :class:`Prefix` and :class:`Suffix`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import ColumnElement

from sqlalchemy_cmk.columns.candidates import Candidate
from sqlalchemy_cmk.columns.indexes import Question, SearchIndex
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.intervals import Interval, IntervalTokens, Within, is_parameter
from sqlalchemy_cmk.search.normalizers import Normalizer, fold, identity, normalizer_of
from sqlalchemy_cmk.search.normalizers.inside import certain
from sqlalchemy_cmk.search.patterns import Asks, Pattern
from sqlalchemy_cmk.search.texts import FitsPattern, Like, TextQuestion, text_question
from sqlalchemy_cmk.search.tokens.keys import KEY_BYTES, index_info
from sqlalchemy_cmk.search.tokens.prefix import DEFAULT_MAX, DEFAULT_MIN, DEFAULT_WIDTH, PrefixTokens
from sqlalchemy_cmk.search.tokens.tags import TAG_BYTES, tag_of

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

# What a B-tree takes on every database.
_MAX_BYTES = 2000


@dataclass(frozen=True)
class Prefix(SearchIndex):
    """Finds texts by what they begin with: ``istartswith``, ``ilike("har%")``.

    With ``normalize=None``, by which upper and lower case differ: ``startswith``, ``like("har%")``. On a
    normalized index those find candidates, which are compared again once they are opened.

    What is compared are normalized texts: a text is found if what the normalizer makes of it begins with what
    it makes of the needle. A character is a code point of the normalized text.

    Args:
        min: characters of the shortest needle.
        max: characters of the longest needle that is answered exactly; a longer one finds candidates.
        width: bytes of each prefix. Two prefixes of a length that differ in their last character only are
            taken for one with a probability of 2 to the power of -8 times this.
        normalize: what a text becomes before its token is made; ``fold`` by default, ``None`` for the text
            as it is.
        name: what the hidden column is called behind the column's name; ``prefix`` if not given.

    Raises:
        ConfigurationError: an option is out of its bounds, or tokens were longer than 2,000 bytes.
    """

    kind = "prefix"
    unique = False
    across_tenants = False

    # What a pattern has to ask for an exact answer, and how such a question is written.
    asks: ClassVar[Asks] = Asks.BEGINNING
    wildcards: ClassVar[tuple[str, str]] = ("", "%")

    min: int = DEFAULT_MIN
    max: int = DEFAULT_MAX
    width: int = DEFAULT_WIDTH
    normalize: Normalizer = fold
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "normalize", normalizer_of(self.normalize))
        for name in ("min", "max", "width"):
            if type(getattr(self, name)) is not int:
                raise ConfigurationError(f"{type(self).__name__}: {name} is a number")
        made = PrefixTokens(bytes(KEY_BYTES), self.min, self.max, self.width)  # which refuses other bounds
        if made.max_bytes > _MAX_BYTES:
            raise ConfigurationError(
                f"{type(self).__name__}: tokens of {made.max_bytes} bytes are longer than the {_MAX_BYTES} "
                "that fit an index: choose a smaller max or width"
            )

    @property
    def ignores_case(self) -> bool:
        """Whether it is asked for normalized texts."""
        return self.normalize != identity

    def refuse_type(self, sealed: EncryptedType) -> None:
        """Refuse values that are not text."""
        if not sealed.codec.text:
            raise ConfigurationError(
                f"{type(self).__name__}: only texts begin and end, and {sealed!r} is none"
            )

    def max_bytes(self) -> int:
        """Return the length of the longest token in bytes."""
        return TAG_BYTES + (self.max - self.min + 1) * self.width

    def info(self, context: Context) -> bytes:
        """Return what the index's key is for."""
        parameters: dict[str, int | str] = {"min": self.min, "max": self.max, "width": self.width}
        return index_info(self.kind, context, self.normalize.identifier, parameters)

    def tokens(self, key: Secret, sealed: EncryptedType) -> _Tokens:
        """Return what makes tokens under a key."""
        return _Tokens(key, self)

    def needle(self, pattern: Pattern) -> str:
        """Return what every text that a pattern fits begins with."""
        return pattern.beginning

    def turned(self, text: str) -> str:
        """Return a text as its prefixes are taken."""
        return text

    def certain_needle(self, like: Like, pattern: Pattern) -> str | None:
        """Return what every normalized text begins with of a text that a pattern fits.

        Where case counts on a folded index, that is less than the pattern: behind it may be an accent.

        Args:
            like: what is asked.
            pattern: the pattern, not normalized.

        Returns:
            The text; ``None`` if nothing is known of what the normalizer makes of a part of a text.
        """
        if like.ignores_case or not self.ignores_case:
            return self.needle(pattern.normalized(self.normalize))
        is_start = self.asks is Asks.BEGINNING
        return certain(self.needle(pattern), self.normalize, at_start=is_start, at_end=not is_start)

    def answer(self, question: Question) -> ColumnElement[Any] | None:
        """Answer what a text begins with: exactly, or by candidates.

        Raises:
            UnsupportedOperation: the needle is too short; or only a candidate's negation would answer.
        """
        asked = text_question(question)
        if asked is None or (asked.like.ignores_case and not self.ignores_case):
            return None
        exact = self._is_exact(asked)
        if exact is None:
            return None
        within = Within(question, _Asked(asked.like, exact), [asked.operand])
        if exact:
            return ~within if asked.is_negated else within
        if asked.is_negated:
            raise UnsupportedOperation(
                f"{type(self).__name__} finds candidates for this query, and what is not a candidate cannot "
                "be told from the rest: select the rows and compare in Python"
            )
        normalize = self.normalize if asked.like.ignores_case else identity
        return Candidate(within, FitsPattern(asked.like, normalize))

    def _is_exact(self, asked: TextQuestion) -> bool | None:
        """Return whether the answer to a question is exact; ``None`` if there is none."""
        like, operand = asked.like, asked.operand
        same_case = like.ignores_case is self.ignores_case
        if operand is None:
            return True
        pattern = asked.pattern(self.normalize)
        if pattern is None:
            known = is_parameter(operand) and (like.before, like.after) == self.wildcards
            return same_case if known else None
        needle = self.certain_needle(like, like.pattern(operand))
        if pattern.asks is Asks.ANYTHING:
            return True
        if needle is None:
            return None
        if len(needle) < self.min:
            if pattern.asks is self.asks:
                raise UnsupportedOperation(_too_short(self))
            return None
        return same_case and pattern.asks is self.asks and len(needle) <= self.max


@dataclass(frozen=True)
class Suffix(Prefix):
    """Finds texts by what they end with: ``iendswith``, ``ilike("%ris")``; else as :class:`Prefix`."""

    kind = "suffix"
    asks = Asks.END
    wildcards = ("%", "")

    def needle(self, pattern: Pattern) -> str:
        """Return what every text that a pattern fits ends with."""
        return pattern.end

    def turned(self, text: str) -> str:
        """Return a text from its last character to its first."""
        return text[::-1]


@dataclass(frozen=True, slots=True)
class _Asked:
    like: Like
    is_exact: bool


class _Tokens(IntervalTokens):
    def __init__(self, key: Secret, index: Prefix) -> None:
        self._index = index
        self._paths = PrefixTokens(key, index.min, index.max, index.width)
        self._tag = tag_of(key)

    def of_values(self, values: Sequence[Any]) -> list[bytes]:
        tag, normalize, turned = self._tag, self._index.normalize, self._index.turned
        if any(not isinstance(value, str) for value in values):
            raise InvalidValue("expected str")
        return [tag + path for path in self._paths.paths(turned(normalize(value)) for value in values)]

    def of_question(self, part: Hashable, value: Any) -> bytes:
        raise InvalidValue(f"{type(self._index).__name__} answers no question of a single token")

    def intervals(self, asked: _Asked, values: Sequence[Any]) -> list[Interval]:  # type: ignore[override]
        index = self._index
        pattern, low = asked.like.pattern(values[0]), self._tag
        needle = index.turned(index.certain_needle(asked.like, pattern) or "")
        pattern = pattern.normalized(index.normalize)
        if pattern.asks is not Asks.ANYTHING:
            if len(needle) < index.min:
                raise InvalidValue(_too_short(index))
            if asked.is_exact and (pattern.asks is not index.asks or len(needle) > index.max):
                raise InvalidValue(
                    "the value asks for more than the index answers exactly, and was not known when the "
                    f"statement was built: give a text without wildcards of at most {index.max} characters"
                )
            low += self._paths.path(needle)
        # Greater than any token that begins so.
        return [(low, low + b"\xff" * (index.max_bytes() - len(low) + 1))]


def _too_short(index: Prefix) -> str:
    name = type(index).__name__
    return (
        f"the index {name}(min={index.min}) knows {index.min} characters and more: ask for a longer text, or "
        f"declare {name}(min=...) smaller"
    )
