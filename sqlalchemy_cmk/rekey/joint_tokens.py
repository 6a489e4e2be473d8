"""Makes the tokens of an index over several columns from the sealed values that are there.

Each move opens the values of one column, and :class:`JointTokens` makes one token of those of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy_cmk.columns.compounds import Combination, CompoundSearchIndex, context_of_several
from sqlalchemy_cmk.columns.hot_tokens import HotTokens
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.rekey.ciphers import Ciphers
from sqlalchemy_cmk.rekey.converters import Converter, decoded, opening
from sqlalchemy_cmk.rekey.job import Move, context_of
from sqlalchemy_cmk.scope import PLATFORM_TENANT


class Part:
    """A value that was opened to make a token of it and of others; it does not show it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "(an opened value)"


def part_opener(keys: Deks, opens: EncryptedType) -> Callable[[str, Any], Converter]:
    """Return what makes the converter of a tenant's values into :class:`Part`, and of others like them."""
    old, read = Ciphers(keys, opens), partial(_part, opens.codec.decode)
    return lambda tenant, stored: opening(old.opening(tenant, stored), read)


class JointTokens:
    """Makes the tokens of an index over several columns.

    Args:
        keys: opens the DEKs.
        moves: one of each column, in the order of the index, all of them into its hidden one.
    """

    def __init__(self, keys: Deks, moves: Sequence[Move]) -> None:
        types: list[Any] = [move.opens for move in moves]
        wanted: Any = moves[0].seals
        index: CompoundSearchIndex = wanted.index
        contexts = [context for one in types if (context := context_of(one)) is not None]
        info = index.info(context_of_several(contexts))
        self._keys = keys
        self._purpose = wanted.purpose
        self._is_tenants = moves[0].opens_for_row and not index.across_tenants
        self._hot = HotTokens(lambda dek: index.tokens_of(dek.index_key(info), types))

    def of(self, tenant: str, rows: Sequence[Sequence[Part]]) -> list[bytes | str]:
        """Return the token of each of a tenant's rows; a text says why its values have none.

        Raises:
            KeyRevoked: the key of the tokens is out of reach, as is :class:`KeyUnavailable`.
        """
        owner = tenant if self._is_tenants else PLATFORM_TENANT
        made = self._hot.under(self._keys.active(owner, self._purpose))
        values = [Combination(part.value for part in row) for row in rows]
        try:
            return list(made.of_values(values))
        except InvalidValue:  # each row for itself says what is wrong with it
            pass
        found: list[bytes | str] = []
        for one in values:
            try:
                found += made.of_values((one,))
            except InvalidValue as error:
                found.append(str(error))
        return found


def _part(decode: Callable[[bytes], Any], plaintext: bytes) -> Part:
    return Part(decoded(decode, plaintext))
