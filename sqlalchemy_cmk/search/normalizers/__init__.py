"""Which texts an index takes for equal: :data:`fold`, :data:`identity`, and the application's own.

Usage::

    Exact(normalize=fold)                                   # as in a search box
    Exact()                                                 # letter by letter: identity

    digits = register_normalizer("digits", 1, only_digits)  # only_digits("+41 44") == "4144"
    Exact(normalize=digits)
"""

from __future__ import annotations

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.search.normalizers.base import Normalizer, find_normalizer, register_normalizer
from sqlalchemy_cmk.search.normalizers.fold import folded

__all__ = ["Normalizer", "find_normalizer", "fold", "identity", "normalizer_of", "register_normalizer"]


def _unchanged(text: str) -> str:
    return text


identity = register_normalizer("identity", 1, _unchanged)
fold = register_normalizer("fold", 1, folded)


def normalizer_of(given: object) -> Normalizer:
    """Return the normalizer that an option names.

    Args:
        given: a :class:`Normalizer`, the name of a registered one, or ``None`` for :data:`identity`.

    Raises:
        ConfigurationError: it is something else, such as a bare function.
    """
    if given is None:
        return identity
    if isinstance(given, Normalizer):
        return given
    if isinstance(given, str):
        return find_normalizer(given)
    if given in (str.casefold, str.lower, str.upper):
        raise ConfigurationError(
            f"normalize: str.{given.__name__} differs between releases of Python, and its tokens would: "
            "write normalize=fold, from sqlalchemy_cmk.search.normalizers"
        )
    if callable(given):
        raise ConfigurationError(
            "normalize: a function has no name and no version by which its tokens could be made again: write "
            'normalize=register_normalizer("NAME", 1, function), from sqlalchemy_cmk.search.normalizers'
        )
    raise ConfigurationError(
        "normalize is fold, a normalizer of register_normalizer or the name of one, "
        f"not {type(given).__name__}"
    )
