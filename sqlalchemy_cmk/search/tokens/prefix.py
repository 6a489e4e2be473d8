"""Tokens that begin alike where texts do: :class:`PrefixTokens`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden
from sqlalchemy_cmk.search.tokens.mac import MAC_BYTES, Mac, encoded

DEFAULT_MIN, DEFAULT_MAX, DEFAULT_WIDTH = 2, 12, 4
MAX_CHARACTERS = 255


class PrefixTokens:
    """Makes the *path* of a text: for each of its prefixes of ``min`` to ``max`` characters, a few bytes.

    The bytes of a prefix depend on the whole prefix, so the paths of two texts agree for as long as the texts
    do, and the texts that begin with a needle are those whose paths begin with the needle's: one interval. A
    character is a Unicode code point. A suffix index is the same of texts that the caller has reversed.

    Two prefixes of the same length that begin alike get the same bytes with a probability of 2^(-8 * width),
    and a question for one then finds the other, too.

    Args:
        key: of the index, 32 bytes.
        min: characters of the shortest prefix, at least 1.
        max: characters of the longest prefix, at most 255.
        width: bytes of each prefix, 1 to 32.

    Raises:
        ConfigurationError: an option is out of its bounds.
        ValueError: the key does not have 32 bytes.
    """

    kind: ClassVar[str] = "prefix"

    __slots__ = ("_heads", "_mac", "max", "min", "width")

    def __init__(
        self,
        key: Secret | bytes,
        min: int = DEFAULT_MIN,
        max: int = DEFAULT_MAX,
        width: int = DEFAULT_WIDTH,
    ) -> None:
        key = hidden(key)
        if not 1 <= min <= max <= MAX_CHARACTERS:
            raise ConfigurationError(
                f"a prefix index has 1 <= min <= max <= {MAX_CHARACTERS} characters, not {min} to {max}"
            )
        if not 1 <= width <= MAC_BYTES:
            raise ConfigurationError(f"a prefix index has a width of 1 to {MAC_BYTES} bytes, not {width}")
        self.min, self.max, self.width = min, max, width
        self._mac = Mac(key)
        self._heads = [length.to_bytes(2) for length in range(min, max + 1)]

    @property
    def max_bytes(self) -> int:
        """Length of the longest path in bytes."""
        return (self.max - self.min + 1) * self.width

    def path(self, text: str) -> bytes:
        """Return the path of a normalized text; empty if the text is shorter than ``min``.

        Raises:
            InvalidValue: the text is not valid Unicode.
        """
        longest = text[: self.max]
        raw = encoded(longest)
        lengths = range(self.min, len(longest) + 1)
        if len(raw) == len(longest):
            prefixes = [raw[:length] for length in lengths]
        else:
            prefixes = [longest[:length].encode() for length in lengths]
        mac, width = self._mac, self.width
        # There are fewer prefixes than lengths in a short text.
        return b"".join(
            [mac(head + prefix)[:width] for head, prefix in zip(self._heads, prefixes, strict=False)]
        )

    def paths(self, texts: Iterable[str]) -> list[bytes]:
        """Return the paths of many texts."""
        return list(map(self.path, texts))

    def bounds(self, text: str) -> tuple[bytes, bytes]:
        """Return the paths of the texts that begin with a needle, as ``low <= path < high``.

        Databases must compare them as bytes, a path before those that it begins: ``BYTEA``, ``VARBINARY``,
        ``BLOB``. A needle longer than ``max`` counts as its first ``max`` characters: what is found is then
        a candidate.

        Raises:
            InvalidValue: the needle is shorter than ``min``, or not valid Unicode.
        """
        if len(text) < self.min:
            raise InvalidValue(
                f"the index knows prefixes of {self.min} characters and more: ask for a longer one, or "
                f"declare it with a smaller min"
            )
        low = self.path(text)
        return low, _after(low) or b"\xff" * (self.max_bytes + 1)


def _after(prefix: bytes) -> bytes:
    """Return the least bytes that come after all that begin with a prefix; none where nothing does."""
    # A byte that would only be 0x00 is cut off: with it, a shorter path would be taken in.
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else b""
