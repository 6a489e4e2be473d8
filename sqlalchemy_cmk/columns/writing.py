"""Seals what one statement writes into one column. See :class:`ColumnWriter`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import urandom
from typing import Any

from sqlalchemy import Connection, Null

from sqlalchemy_cmk.ciphers import ColumnCipher
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.index_slots import keys_to_write
from sqlalchemy_cmk.columns.plain import PlainWriter
from sqlalchemy_cmk.columns.presealed import PREFIX
from sqlalchemy_cmk.columns.sealed import Sealed, stored_bytes
from sqlalchemy_cmk.errors import InvalidValue, KeyRevoked
from sqlalchemy_cmk.format import DEK_ID_BYTES, TAG_BYTES, header_of
from sqlalchemy_cmk.keys.binding.held_keys import Deks, Holders
from sqlalchemy_cmk.keys.opening.questions import ActiveDek

# What is not simply encoded and sealed.
_UNUSUAL = {type(None), Null, Sealed}


def writer_of(
    column: SealedColumn, connection: Connection, holders: Holders, *, writes: bool = False
) -> ColumnWriter | PlainWriter:
    """Return what seals a column's values for one statement; in a dry run what only checks them.

    Args:
        column: the column.
        connection: where the statement runs.
        holders: what the statement holds of its keys.
        writes: whether it writes the values, and does not only compare with them.
    """
    if column.dry_run is None:
        return ColumnWriter(column, holders[column.keys_on(connection, writes=writes)])
    return PlainWriter(column, column.dry_run)


class ColumnWriter:
    """Seals values of one column, for one statement.

    What it returns is presealed: what the bind processor lets pass. SQL's ``null()`` stays as it is, and
    ``None`` stays ``None`` unless the type keeps SQL NULL and its own null apart, as JSON does.

    Args:
        column: the column.
        keys: the keys of the database that the values go to.
    """

    __slots__ = ("_column", "_column_keys", "_keys", "_nulls")

    def __init__(self, column: SealedColumn, keys: Deks) -> None:
        self._column = column
        self._keys = keys
        self._column_keys = column.ciphers(keys)
        self._nulls = not column.column.type.should_evaluate_none

    def keys_for(self, values: Iterable[Any], owner: str) -> list[ActiveDek]:
        """Return which keys an owner's values are written with; none where all are NULL or written back."""
        needed = any(not self._is_null(one) and type(one) is not Sealed for one in values)
        if not needed:
            return []
        found = keys_to_write(self._column, owner, self._keys.indexes.last_view)
        return [ActiveDek(*one) for one in sorted(found)]

    def open_all(self, needed: Iterable[ActiveDek]) -> None:
        """Open keys of the column's database side by side; each is looked at again where it seals.

        Raises:
            KeyRevoked, KeyUnavailable: as :meth:`seal`.
        """
        self._keys.open_all(needed).require_all()

    def seal(self, value: Any, owner: str, identity: bytes = b"") -> Any:
        """Return one value sealed.

        Args:
            value: the Python value.
            owner: whose value it is: a tenant, or ``""`` for the platform.
            identity: the row identity; empty if the column is not row-bound.

        Raises:
            InvalidValue: the value does not fit the declared type.
            KeyRevoked: the owner's KEK refuses, or a ``Sealed`` of another place is written.
            KeyUnavailable: the owner's KEK cannot be reached.
        """
        return self._seal(value, owner, identity, self._column_keys.sealing)

    def seal_compared(self, value: Any, owner: str) -> Any:
        """Return a value sealed as stored ones are, to compare with them; no key is made for it.

        Where the owner has no key, and so no values, it returns bytes that equal no stored value.
        """
        cipher = self._column_keys.comparing(owner)
        if cipher is None:
            nothing = header_of(self._column.scheme.suite, urandom(DEK_ID_BYTES)) + urandom(TAG_BYTES)
            return PREFIX + nothing
        return self._seal(value, owner, b"", lambda _: cipher)

    def seal_all(
        self, values: Sequence[Any], owner: str, identities: Sequence[bytes] | None = None
    ) -> list[Any]:
        """Return many values of one owner sealed; raises as :meth:`seal` does.

        Args:
            values: the Python values.
            owner: whose they are.
            identities: the row identity of each; ``None`` if the column is not row-bound.
        """
        if not _UNUSUAL.isdisjoint(map(type, values)):
            bound = identities or [b""] * len(values)
            return [self.seal(value, owner, one) for value, one in zip(values, bound, strict=True)]
        plaintexts = self._encode_all(values)
        sealed = self._column_keys.sealing(owner).seal_all(plaintexts, identities)
        return list(map(PREFIX.__add__, sealed))

    def _seal(self, value: Any, owner: str, identity: bytes, cipher_of: Callable[[str], ColumnCipher]) -> Any:
        if self._is_null(value):
            return value
        if type(value) is Sealed:
            return self._write_back(value, owner, identity)
        plaintext = self._encode(value)
        return PREFIX + cipher_of(owner).seal(plaintext, identity)

    def _is_null(self, value: Any) -> bool:
        return (value is None and self._nulls) or isinstance(value, Null)

    def _encode_all(self, values: Sequence[Any]) -> list[bytes]:
        reason = ""
        try:
            return self._column.codec.encode_all(values)
        except InvalidValue as error:
            reason = str(error)
        raise InvalidValue(f"{self._column.where}: {reason}")

    def _encode(self, value: Any) -> bytes:
        return self._encode_all((value,))[0]

    def _write_back(self, sealed: Sealed, owner: str, identity: bytes) -> bytes:
        context = str(self._column.context)
        if sealed.context != context or sealed.tenant != owner or sealed.identity != identity:
            raise KeyRevoked(
                f"{self._column.where}: a sealed value of {sealed.context}, tenant {sealed.tenant!r}, "
                "cannot be moved: its key is revoked"
            )
        return PREFIX + stored_bytes(sealed)
