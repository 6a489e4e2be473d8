"""What kind of thing an argument is: a mistake is named where it is made, and with what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from sqlalchemy_cmk.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

_LISTS = (list, tuple, set, frozenset, dict)
_SHOWN = (int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument has to be.

    Attributes:
        types: the types that it may have.
        words: what it is, for the message: ``a Keyring``.
        never: types that it may not have although they are among ``types``: a text is not a list of texts.
        each: the type of its elements, of which an iterator is not asked.
    """

    types: tuple[type, ...]
    words: str
    never: tuple[type, ...] = (bool,)
    each: type = object

    @property
    def or_none(self) -> Kind:
        """The same, or nothing."""
        return replace(self, types=(*self.types, type(None)), words=f"{self.words}, or None")

    def require(self, name: str, given: object) -> None:
        """Refuse an argument of another kind.

        Raises:
            ConfigurationError: it is of another kind.
        """
        if not isinstance(given, self.types) or isinstance(given, self.never):
            raise ConfigurationError(f"{name} is {self.words}, not {described(given)}")
        for one in given if isinstance(given, _LISTS) else ():
            if not isinstance(one, self.each):
                raise ConfigurationError(f"{name} is {self.words}, and {described(one)} is in it")


def text(words: str) -> Kind:
    """Return the kind of texts that these words describe."""
    return Kind((str,), words)


def several(words: str, each: type = object) -> Kind:
    """Return the kind of lists that these words describe; one text is none."""
    return Kind((Iterable,), words, never=(str, bytes), each=each)


KEK_URI = text("the URI of a KEK, such as 'local:acme'")
NUMBER = Kind((int, float), "a number")
COUNT = Kind((int,), "a whole number")
FUNCTION = Kind((Callable,), "a function", never=(type,))  # type: ignore[arg-type]


def takes(**kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function refuse arguments of other kinds before it begins.

    Args:
        kinds: by the names of its arguments, what they have to be.
    """

    def wrapped(function: Callable[P, R]) -> Callable[P, R]:
        names = list(signature(function).parameters)
        checked = [kinds.get(name) for name in names]

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, kind, given in zip(names, checked, args, strict=False):
                if kind is not None:
                    kind.require(name, given)
            for name, given in kwargs.items():
                if name in kinds:
                    kinds[name].require(name, given)
            return function(*args, **kwargs)

        return call

    return wrapped


def described(given: object) -> str:
    """Return what was given, for a message: no text, which may be a secret, and nothing long."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return repr(given) if type(given) in _SHOWN else type(given).__name__


def named(given: object) -> str:
    """Return the name that was given, which is not a secret; what is not text as :func:`described` does."""
    return repr(given) if isinstance(given, str) else described(given)
