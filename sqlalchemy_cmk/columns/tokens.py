"""Makes the tokens that the rows of one statement write. See :class:`TokenWriter`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Null

from sqlalchemy_cmk.columns.index_slots import Slot
from sqlalchemy_cmk.columns.indexes import Tokens
from sqlalchemy_cmk.columns.presealed import PREFIX
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.errors import InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.keys.model import OpenedDek


class TokenWriter:
    """Makes the tokens of one index, for one statement.

    Args:
        slot: the hidden column of the index that they write.
        keys: the keys of the database that the rows go to.
    """

    def __init__(self, slot: Slot, keys: Deks) -> None:
        self.index = slot.index
        self._purpose = slot.purpose
        self._keys = keys
        self._made: tuple[OpenedDek, Tokens] | None = None

    def of_all(self, values: Sequence[Any], tenant: str) -> list[Any]:
        """Return the tokens of many values of a tenant's rows, as the bind processor lets them pass.

        Raises:
            InvalidValue: the index cannot hold a value.
            UnsupportedOperation: a value is ``Sealed``: its tokens cannot be made.
            KeyRevoked: the owner's KEK refuses, or the owner was shredded.
            KeyUnavailable: the KEK or the key tables cannot be reached, and the grace is over.
        """
        known = [value for value in values if not _is_null(value)]
        if any(type(value) is Sealed for value in known):
            raise UnsupportedOperation(
                f"{self.index.sealed.where}: a Sealed value has no tokens for the index "
                f"{self.index.index.suffix!r}: leave the column out, so that it keeps its value"
            )
        made = iter(self._tokens(known, tenant) if known else ())
        return [None if _is_null(value) else PREFIX + next(made) for value in values]

    def _tokens(self, values: list[Any], tenant: str) -> list[bytes]:
        # Asked each time: what was revoked meanwhile makes no tokens.
        dek = self._keys.active(self.index.owner(tenant), self._purpose)
        if self._made is None or self._made[0] is not dek:
            self._made = dek, self.index.under(dek)
        reason = ""
        try:
            return self._made[1].of_values(values)
        except InvalidValue as error:
            reason = str(error)
        raise InvalidValue(f"{self.index.sealed.where}: {reason}")


def _is_null(value: Any) -> bool:
    return value is None or isinstance(value, Null)
