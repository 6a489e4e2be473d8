"""THE check: which DEK opens these bytes for this owner. Knows nothing of SQLAlchemy.

Fetched rows, re-keying, the health checks and raw cursors all come here. See :class:`ColumnKeys`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy_cmk.ciphers import ColumnCipher, Opener
from sqlalchemy_cmk.columns.scheme import Scheme
from sqlalchemy_cmk.errors import KeyRevoked, TamperedError, TenantMismatch
from sqlalchemy_cmk.format import HEADER_BYTES, Context, NotAuthentic, NotSealed, is_header, parse_header
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.keys.model import OpenedDek
from sqlalchemy_cmk.keys.opening.key_batch import KeyBatch
from sqlalchemy_cmk.keys.opening.questions import Question

# An AES-GCM cipher takes more than 2 KiB.
MAX_CIPHERS = 2048


def _named(stored: object) -> str:
    """Return which DEK bytes that are not a sealed value would name, for a message."""
    begin = stored[:HEADER_BYTES] if isinstance(stored, bytes) else b""
    return f"; DEK {begin[1:].hex()}, if it ever was one" if is_header(begin) else ""


class ColumnKeys:
    """Finds the ciphers of one column, for as long as one fetch, statement or batch takes.

    They are asked at each call, so that what has expired or was revoked meanwhile is noticed; ciphers
    are made once for each DEK, and leave memory with it.

    Args:
        keys: the DEKs of the database that holds the values.
        scheme: how the column's values are sealed.
        context: what they are bound to.
        where: the column's name, for messages; empty if the caller adds it.
    """

    __slots__ = ("_context", "_keys", "_made", "_purpose", "_where")

    def __init__(self, keys: Deks, scheme: Scheme, context: Context, where: str = "") -> None:
        self._keys = keys
        self._purpose = scheme.purpose
        self._context = context
        self._where = f"{where}: " if where else ""
        self._made: dict[bytes, tuple[weakref.ref[OpenedDek], ColumnCipher]] = {}

    def sealing(self, owner: str) -> ColumnCipher:
        """Return the cipher under an owner's active DEK, which is made at first use.

        Raises:
            KeyRevoked: its KEK refuses, or the owner was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and the grace is over.
        """
        return self._cipher(self._keys.active(owner, self._purpose))

    def comparing(self, owner: str) -> ColumnCipher | None:
        """Return the cipher under an owner's active DEK; ``None`` if it has none, and so no values.

        A query makes no key and no tenant; raises as :meth:`sealing` does.
        """
        dek = self._keys.existing(owner, self._purpose)
        return None if dek is None else self._cipher(dek)

    def opening(self, header: bytes, owner: str | None, *, row_says: bool = True) -> ColumnCipher:
        """Return the cipher that opens values with a header for an owner; see :meth:`opener`."""
        return self._cipher(self._dek(header, owner, row_says, self._keys.dek))

    def opener(
        self,
        header: bytes,
        owner: str | None,
        opened: KeyBatch[Question],
        *,
        hot: bool,
        row_says: bool = True,
    ) -> Opener:
        """Return what opens values with a header for an owner, made for the caller alone.

        Args:
            header: the first nine bytes of the stored value.
            owner: whose value it has to be; ``None`` only where the keyring lets values be read without an
                owner.
            opened: the header's DEK, just opened, among others.
            hot: whether its cipher is kept with it.
            row_says: whether the row itself names the owner; otherwise a scope or the statement does.

        Raises:
            TamperedError: there is no such DEK, it is not the row's owner's, or it is for another purpose.
            TenantMismatch: it is not the owner's that the scope or the statement names.
            KeyRevoked: its KEK refuses, or it was destroyed.
            KeyUnavailable: its KEK or the key tables cannot be reached, and the grace is over.
        """
        return self._dek(header, owner, row_says, opened.__getitem__).opener(self._context, hot=hot)

    def _dek(
        self, header: bytes, owner: str | None, row_says: bool, find: Callable[[bytes], OpenedDek | None]
    ) -> OpenedDek:
        dek_id = header[1:]
        reason = ""
        try:
            dek = find(dek_id)
        except TamperedError as error:
            reason = f"DEK {dek_id.hex()}: {error}"
        except KeyRevoked as error:
            if owner is not None and error.tenant not in (None, owner):
                self._refuse_owner(str(error.tenant), dek_id, owner, row_says)
            raise
        if reason:
            raise TamperedError(self._where + reason)
        if dek is None:
            raise TamperedError(
                f"{self._where}there is no DEK {dek_id.hex()}: the value or the key tables were altered"
            )
        if owner is not None and dek.tenant != owner:
            self._refuse_owner(dek.tenant, dek_id, owner, row_says)
        if header != dek.header or dek.purpose is not self._purpose:
            raise TamperedError(
                f"{self._where}the value is sealed in a way this column does not use, DEK {dek_id.hex()}"
            )
        return dek

    def open(
        self, stored: bytes, owner: str | None, identity: bytes = b"", *, row_says: bool = True
    ) -> bytes:
        """Return the plaintext of one stored value, with every check.

        Args:
            stored: the stored bytes.
            owner: as for :meth:`opening`, as is ``row_says``.
            identity: the row identity; empty if the column is not row-bound.

        Raises:
            TamperedError: as :meth:`opening`; or the bytes are not a sealed value, or were altered or moved.
        """
        reason = ""
        try:
            parse_header(stored)
        except NotSealed as error:
            reason = str(error)
        if reason:
            raise TamperedError(
                f"{self._where}the stored value is not sealed ({reason}): plain text was written past this "
                f"library, or the value was truncated{_named(stored)}"
            )
        cipher = self.opening(stored[:HEADER_BYTES], owner, row_says=row_says)
        try:
            return cipher.open(stored, identity)
        except NotAuthentic:
            pass
        raise TamperedError(
            f"{self._where}the value was altered, or moved here from another column or row; "
            f"DEK {stored[1:HEADER_BYTES].hex()}"
        )

    def _refuse_owner(self, tenant: str, dek_id: bytes, owner: str, row_says: bool) -> None:
        if not row_says:
            raise TenantMismatch(
                f"{self._where}a value of tenant {tenant!r} where scope or statement name {owner!r}"
            )
        raise TamperedError(
            f"{self._where}a row of tenant {owner!r} holds a value sealed for {tenant!r} "
            f"under DEK {dek_id.hex()}"
        )

    def _cipher(self, dek: OpenedDek) -> ColumnCipher:
        made = self._made.get(dek.id)
        if made is None or made[0]() is not dek:
            if len(self._made) >= MAX_CIPHERS:
                self._made.clear()
            forget = partial(_pop, self._made, dek.id)
            made = self._made[dek.id] = weakref.ref(dek, forget), dek.cipher(self._context)
        return made[1]


def _pop(made: dict[bytes, Any], dek_id: bytes, _: object) -> None:
    made.pop(dek_id, None)
