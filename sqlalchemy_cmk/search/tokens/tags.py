"""What short tokens of one key begin with, so that those of two keys never meet: :func:`tag_of`."""

from __future__ import annotations

from sqlalchemy_cmk.format import derived_key
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden

TAG_BYTES = 6

_INFO = b"cmk search tag"


def tag_of(key: Secret | bytes) -> bytes:
    """Return the tag of an index key: 6 bytes, HKDF-SHA256 of the key for ``cmk search tag``.

    Of 10,000 tenants, two have the same with a probability of about 2 in 10 million.

    Args:
        key: of the index, 32 bytes.

    Raises:
        ValueError: the key does not have 32 bytes.
    """
    return derived_key(hidden(key), _INFO, TAG_BYTES).reveal()
