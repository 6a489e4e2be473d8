"""The ciphers of one column under the DEKs of many tenants."""

from __future__ import annotations

from typing import Any

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.rekey.job import context_of
from sqlalchemy_cmk.sealing import ColumnCipher, NotSealed, parse_header
from sqlalchemy_cmk.types import EncryptedType

MOST_CIPHERS = 2048


class Ciphers:
    """Finds the cipher that opens a value, and the one that seals for a tenant.

    Keys are asked of the keyring at each call, so that what expired or was revoked meanwhile is noticed.

    Args:
        keyring: opens the DEKs.
        type_: the column's type.
    """

    def __init__(self, keyring: Keyring, type_: EncryptedType) -> None:
        self._keyring = keyring
        self._suite = type_.suite
        self._purpose = Purpose.of(type_.suite)
        self._context = str(context_of(type_))
        self._made: dict[bytes, tuple[OpenedDek, ColumnCipher]] = {}

    def sealing(self, tenant: str) -> ColumnCipher:
        """Return the cipher under a tenant's active DEK."""
        return self._cipher(self._keyring.active(tenant, self._purpose))

    def opening(self, tenant: str, stored: Any) -> ColumnCipher:
        """Return the cipher of a stored value of a tenant's row.

        Raises:
            TamperedError: it is not sealed, not in this way, or not for this tenant.
            KeyRevoked: its key is out of reach, as is :class:`KeyUnavailable`.
        """
        try:
            suite, dek_id = parse_header(bytes(stored) if isinstance(stored, memoryview) else stored)
        except NotSealed as error:
            raise TamperedError(f"the stored value is not sealed: {error}") from None
        dek = self._keyring.dek(dek_id)
        if dek is None:
            raise TamperedError(f"there is no DEK {dek_id.hex()}")
        if dek.tenant != tenant:
            raise TamperedError(
                f"a row of tenant {tenant!r} holds a value sealed for {dek.tenant!r} under DEK {dek_id.hex()}"
            )
        if suite is not self._suite or dek.purpose is not self._purpose:
            raise TamperedError(f"it is sealed in another way than the column's, DEK {dek_id.hex()}")
        return self._cipher(dek)

    def _cipher(self, dek: OpenedDek) -> ColumnCipher:
        made = self._made.get(dek.id)
        if made is None or made[0] is not dek:
            if len(self._made) >= MOST_CIPHERS:
                self._made.clear()
            made = self._made[dek.id] = dek, dek.cipher(self._context)
        return made[1]
