"""The operators that look into a text, each as the pattern that it asks for: :class:`Like`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType

from sqlalchemy_cmk.columns.candidates import Recheck
from sqlalchemy_cmk.columns.indexes import Question
from sqlalchemy_cmk.errors import InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.search.intervals import is_known, is_parameter
from sqlalchemy_cmk.search.normalizers import Normalizer
from sqlalchemy_cmk.search.patterns import Pattern, pattern_of

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

# What stands before the operand and behind it, whether case is ignored, and whether the answer is negated.
_OPERATORS: dict[OperatorType, tuple[str, str, bool, bool]] = {
    operators.like_op: ("", "", False, False),
    operators.not_like_op: ("", "", False, True),
    operators.ilike_op: ("", "", True, False),
    operators.not_ilike_op: ("", "", True, True),
    operators.startswith_op: ("", "%", False, False),
    operators.not_startswith_op: ("", "%", False, True),
    operators.istartswith_op: ("", "%", True, False),
    operators.not_istartswith_op: ("", "%", True, True),
    operators.endswith_op: ("%", "", False, False),
    operators.not_endswith_op: ("%", "", False, True),
    operators.iendswith_op: ("%", "", True, False),
    operators.not_iendswith_op: ("%", "", True, True),
    operators.contains_op: ("%", "%", False, False),
    operators.not_contains_op: ("%", "%", False, True),
    operators.icontains_op: ("%", "%", True, False),
    operators.not_icontains_op: ("%", "%", True, True),
}


@dataclass(frozen=True, slots=True)
class Like:
    """What one of SQLAlchemy's text operators asks, but for the value.

    Attributes:
        before: the wildcard before the value.
        after: the wildcard behind it.
        ignores_case: whether texts are normalized, as for ``ilike``.
        escape: the character before what is not a wildcard, if any.
    """

    before: str
    after: str
    ignores_case: bool
    escape: str | None

    @property
    def is_like(self) -> bool:
        """Whether it is ``like`` or ``ilike``: the value alone says what is asked."""
        return not self.before and not self.after

    def pattern(self, value: Any) -> Pattern:
        """Return the pattern that a value makes.

        Raises:
            InvalidValue: it is not text, or makes no pattern.
        """
        if not isinstance(value, str):
            raise InvalidValue(f"a text is compared with a text, not with {type(value).__name__}")
        return pattern_of(f"{self.before}{value}{self.after}", self.escape)


@dataclass(frozen=True, slots=True)
class TextQuestion:
    """A question about a text.

    Attributes:
        like: what is asked.
        operand: the value, as a Python value, a parameter or other SQL.
        is_negated: whether the rows are asked for that the pattern does not fit.
    """

    like: Like
    operand: Any
    is_negated: bool

    def pattern(self, normalize: Callable[[str], str]) -> Pattern | None:
        """Return the pattern; ``None`` if its value is not known before the statement is executed.

        Raises:
            UnsupportedOperation: the value makes no pattern; or it is that of LIKE, and is not known.
        """
        if not is_known(self.operand):
            if self.like.is_like and is_parameter(self.operand):
                raise UnsupportedOperation(
                    "LIKE with a pattern that is not known yet (a bindparam(), a variable of a lambda): what "
                    "it asks decides how it is answered: call startswith(), endswith() or contains()"
                )
            return None
        reason = ""
        try:
            return self.like.pattern(self.operand).normalized(normalize)
        except InvalidValue as error:
            reason = str(error)
        raise UnsupportedOperation(reason)


def text_question(question: Question) -> TextQuestion | None:
    """Return the question about a text that an operation is; ``None`` for any other operation."""
    found = _OPERATORS.get(question.operator)
    if found is None:
        return None
    before, after, ignores_case, is_negated = found
    # SQLAlchemy has escaped the value before, where autoescape=True asks for it.
    like = Like(before, after, ignores_case, question.options.get("escape"))
    return TextQuestion(like, question.operands[0], is_negated)


@dataclass(frozen=True)
class FitsPattern(Recheck):
    """Compares opened texts with a pattern.

    Args:
        like: what was asked.
        normalize: what is compared: texts as they are, or normalized ones.
    """

    like: Like
    normalize: Normalizer

    def predicate(self, sealed: EncryptedType, asked: Any) -> Callable[[Any], bool]:
        """Return what says whether an opened text fits; raises :class:`InvalidValue`."""
        pattern, normalize = self.like.pattern(asked).normalized(self.normalize), self.normalize.trusted
        part = pattern.only_part
        if part is not None:
            return lambda text: part in normalize(text)
        return lambda text: pattern.matches(normalize(text))
