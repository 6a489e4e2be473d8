"""A DEK and the column keys derived from it, in little memory. See :class:`DekWithColumnKeys`."""

from __future__ import annotations

from itertools import count
from struct import pack

from sqlalchemy_cmk.format import DEK_BYTES, derived_key
from sqlalchemy_cmk.runtime.secret import Secret

_MARK_BYTES = 4

_numbers = count()
_marks: dict[bytes, bytes] = {}


class DekWithColumnKeys:
    """A DEK, and the key of each column that it was used for: derived once, and kept as bytes.

    A process may keep ten thousands of them. In one piece, each behind its column's mark, five column keys
    take 180 bytes; in a dictionary of objects they take 900.

    Args:
        dek: the DEK.
    """

    __slots__ = ("_packed",)

    def __init__(self, dek: Secret) -> None:
        self._packed = dek

    def of(self, info: bytes, size: int) -> Secret:
        """Return the key of a column, or of an index.

        Args:
            info: what the key is for; see :func:`sqlalchemy_cmk.format.derived_key`.
            size: its length in bytes, the same for all keys of the DEK.
        """
        mark = _marks.get(info) or _marks.setdefault(info, pack("!I", next(_numbers)))
        packed = self._packed
        at = packed.find(mark, DEK_BYTES)
        # The bytes of a mark may also stand inside a key.
        while at >= 0 and (at - DEK_BYTES) % (_MARK_BYTES + size):
            at = packed.find(mark, at + 1)
        if at >= 0:
            return packed.part(at + _MARK_BYTES, size)
        key = derived_key(packed.part(0, DEK_BYTES), info, size)
        # Of two threads that add keys at once, one's is lost, and derived again when it is needed.
        self._packed = packed.followed_by(mark, key)
        return key
