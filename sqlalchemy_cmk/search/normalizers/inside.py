"""What a normalized text contains for certain, if the text itself contains another: :func:`certain`.

``fold`` composes characters: "e" and a combining accent become one character. So a text may contain "cafe"
while the folded text does not: where the text goes on with an accent. What is left of the needle without such
characters at its ends is in the folded text, whatever stands around it.
"""

from __future__ import annotations

from functools import cache
from unicodedata import combining, decomposition, normalize

from sqlalchemy_cmk.search.normalizers.base import Normalizer
from sqlalchemy_cmk.search.normalizers.fold import folded

# Where characters that compose are decomposed; Hangul is composed by a rule.
_COMPOSED = (range(0xA0, 0x3400), range(0xFB00, 0xFC00), range(0x11000, 0x12000), range(0x1D000, 0x1D200))
_LEADING, _VOWELS, _TRAILING = range(0x1100, 0x1113), range(0x1161, 0x1176), range(0x11A8, 0x11C3)
_SYLLABLES = range(0xAC00, 0xD7A4)


def certain(text: str, normalizer: Normalizer, *, at_start: bool = False, at_end: bool = False) -> str | None:
    """Return the longest part of a text that every normalized text has for certain which contains the text.

    Args:
        text: what is contained.
        normalizer: what the other texts are normalized by.
        at_start: whether they begin with it.
        at_end: whether they end with it.

    Returns:
        The part, normalized; ``None`` if nothing is known of the normalizer.
    """
    if normalizer.name == "identity":
        return text
    if normalizer.function is not folded:
        return None
    places = [at for at, character in enumerate(text) if _is_apart(character)]
    if at_start:
        places = [0, *places]
    if at_end or (text and _is_last(text[-1])):
        places = [*places, len(text)]
    return folded(text[places[0] : places[-1]]) if places else ""


@cache
def _pairs() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters that compose with one behind them, and those that do with one before them."""
    pairs = [
        found
        for every in _COMPOSED
        for one in every
        if (parts := decomposition(chr(one)))
        and not parts.startswith("<")
        and len(found := parts.split()) == 2
    ]
    before, behind = ({chr(int(pair[side], 16)) for pair in pairs} for side in (0, 1))
    return frozenset(before | set(map(chr, _LEADING))), frozenset(
        behind | set(map(chr, (*_VOWELS, *_TRAILING)))
    )


@cache
def _is_apart(character: str) -> bool:
    """Return whether a character, and what it is folded to, has nothing to do with what stands before it."""
    _, behind = _pairs()
    firsts = {normalize("NFKD", one)[:1] for one in (character, folded(character))}
    return all(first and not combining(first) and first not in behind for first in firsts)


@cache
def _is_last(character: str) -> bool:
    """Return whether a character is apart, and has nothing to do with what stands behind it either."""
    before, _ = _pairs()
    if not _is_apart(character):
        return False
    for one in (character, folded(character)):
        lasts = {normalize(form, one)[-1:] for form in ("NFKD", "NFKC")}
        if any(combining(last) or last in before or ord(last) in _SYLLABLES for last in lasts):
            return False
    return True
