"""The set of tokens of a text's n-grams: :class:`NGramTokens`."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden
from sqlalchemy_cmk.search.tokens.mac import Mac, encoded

DEFAULT_SIZE = 3
MAX_SIZE = 8

# Of names there are some 2,400 different 3-grams in all. One takes about 250 bytes.
_KEPT = 4096
_TOKEN = slice(8)


class NGramTokens:
    """Makes a token of each n-gram of a text: a signed integer of 64 bits.

    A text contains a needle only if it has all tokens of the needle. The other way round does not hold: what
    is found are candidates. It keeps the tokens of the last 4,096 n-grams.

    Args:
        key: of the index, 32 bytes.
        size: characters (Unicode code points) of an n-gram, 1 to 8.

    Raises:
        ConfigurationError: ``size`` is out of its bounds.
        ValueError: the key does not have 32 bytes.
    """

    kind: ClassVar[str] = "ngram"

    __slots__ = ("_token", "size")

    def __init__(self, key: Secret | bytes, size: int = DEFAULT_SIZE) -> None:
        key = hidden(key)
        if not 1 <= size <= MAX_SIZE:
            raise ConfigurationError(f"an n-gram has 1 to {MAX_SIZE} characters, not {size}")
        self.size = size
        mac = Mac(key)

        # Not a method: the cache would keep this object, and its key, until garbage is collected.
        @lru_cache(_KEPT)
        def token(gram: str) -> int:
            return int.from_bytes(mac(gram.encode())[_TOKEN], signed=True)

        self._token = token

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a normalized text: ascending, each once, none for a text that is too short.

        Raises:
            InvalidValue: the text is not valid Unicode.
        """
        size = self.size
        if not text.isascii():
            encoded(text)
        if len(text) < size:
            return []
        return sorted(set(map(self._token, [text[at : at + size] for at in range(len(text) - size + 1)])))
