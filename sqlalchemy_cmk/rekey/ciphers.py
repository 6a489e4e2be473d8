"""The ciphers of one column under the DEKs of many owners."""

from __future__ import annotations

from typing import Any

from sqlalchemy_cmk.ciphers import ColumnCipher
from sqlalchemy_cmk.columns.opening import ColumnKeys
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.format import HEADER_BYTES, NotSealed, parse_header
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.rekey.job import context_of
from sqlalchemy_cmk.scope import PLATFORM_TENANT


class Ciphers:
    """Finds the cipher that opens a value, and the one that seals for a tenant.

    Keys are asked for at each call, so that what expired or was revoked meanwhile is noticed.

    Args:
        keys: opens the DEKs.
        type_: the column's type, with a context.
    """

    def __init__(self, keys: Deks, type_: EncryptedType) -> None:
        context = context_of(type_)
        if context is None:
            raise ConfigurationError(
                f"{type_!r} does not say what its values are bound to: give it a context"
            )
        self._keys = ColumnKeys(keys, type_.scheme, context)
        self._is_tenants = type_.scheme.owner == "row"

    def sealing(self, tenant: str) -> ColumnCipher:
        """Return the cipher under the active DEK of a row's tenant, or of the platform."""
        return self._keys.sealing(self._owner(tenant))

    def opening(self, tenant: str, stored: Any) -> ColumnCipher:
        """Return the cipher of a stored value of a tenant's row.

        Raises:
            TamperedError: it is not sealed, not in this way, or not for this tenant.
            KeyRevoked: its key is out of reach, as is :class:`KeyUnavailable`.
        """
        sealed = bytes(stored) if isinstance(stored, memoryview) else stored
        reason = ""
        try:
            parse_header(sealed)
        except NotSealed as error:
            reason = str(error)
        if reason:
            raise TamperedError(f"the stored value is not sealed: {reason}")
        return self._keys.opening(sealed[:HEADER_BYTES], self._owner(tenant))

    def _owner(self, tenant: str) -> str:
        return tenant if self._is_tenants else PLATFORM_TENANT
