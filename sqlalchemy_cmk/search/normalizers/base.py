"""What a normalizer is, and where the application's own are found again: :class:`Normalizer`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_MAX_VERSION = 2**31 - 1


@dataclass(frozen=True)
class Normalizer:
    """Maps texts that an index treats as equal to the same text. Made by :func:`register_normalizer`.

    Its name and version are part of every token: a function that gives another result for any text needs
    another version, and the index is rebuilt. It must give the same on every machine and in every release
    of Python, and must not change what it has given: ``function(function(text)) == function(text)``.

    Attributes:
        name: lower-case letters, digits and underscores.
        version: from 1 on.
        function: text to text.
    """

    name: str
    version: int
    function: Callable[[str], str] = field(compare=False, repr=False)

    @property
    def identifier(self) -> str:
        """Name and version, as they are part of an index's key."""
        return f"{self.name}/{self.version}"

    def __call__(self, text: str) -> str:
        """Return the text that stands for all texts like this one.

        Raises:
            InvalidValue: the function failed or returned no text; the error shows neither.
        """
        reason = ""
        try:
            result: Any = self.function(text)
            if isinstance(result, str):
                return result
            reason = f"it returned {type(result).__name__}, not str"
        except Exception as error:
            reason = type(error).__name__  # its text may be the value's
        raise InvalidValue(f"the normalizer {self.identifier} does not take the text ({reason})")

    @property
    def trusted(self) -> Callable[[str], str]:
        """What to call for many texts: the function itself, where it is the library's own."""
        ours = str(getattr(self.function, "__module__", "")).startswith(str(__package__))
        return self.function if ours else self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name only: a function may be none that can be pickled."""
        return find_normalizer, (self.name, self.version)


_registered: dict[tuple[str, int], Normalizer] = {}


def register_normalizer(name: str, version: int, function: Callable[[str], str]) -> Normalizer:
    """Give one of the application's normalizers a name, by which indexes and migrations find it.
    Call it when a module is imported, before the models that use it::

           digits = register_normalizer("digits", 1, lambda text: "".join(filter(str.isdecimal, text)))

       Args:
           name: lower-case letters, digits and underscores; at most 63.
           version: from 1 on; another one whenever the function gives another result for any text.
           function: text to text; see :class:`Normalizer`.

       Raises:
           ConfigurationError: name or version are not of this form, or are those of another function.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            'register_normalizer: the name is of lower-case letters, digits and underscores, such as "digits"'
        )
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= _MAX_VERSION:
        raise ConfigurationError(f"register_normalizer: the version of {name} is an integer from 1 on")
    if not callable(function):
        raise ConfigurationError(f"register_normalizer: {name} is not a function from text to text")
    known = _registered.get((name, version))
    if known is not None and _place(known.function) != _place(function):
        raise ConfigurationError(
            f"register_normalizer: {known.identifier} is another function: choose another name, or where the "
            f"function gives another result than before, the version {version + 1}"
        )
    # A module that is imported again brings its function again.
    made = _registered[name, version] = Normalizer(name, version, function)
    return made


def _place(function: Callable[[str], str]) -> tuple[object, ...]:
    named = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return (function,) if None in named else (*named, getattr(function, "__code__", None))


def find_normalizer(name: str, version: int | None = None) -> Normalizer:
    """Return a normalizer by its name.

    Args:
        name: as it was registered.
        version: which one; the newest by default.

    Raises:
        ConfigurationError: there is none.
    """
    versions = [one for one in list(_registered.values()) if one.name == name]
    found = [one for one in versions if version in (None, one.version)]
    if not found:
        wanted = name if version is None else f"{name}/{version}"
        raise ConfigurationError(
            f"no normalizer is called {wanted!r}: call register_normalizer before the model is defined"
        )
    return max(found, key=lambda one: one.version)
