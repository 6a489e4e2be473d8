"""The plain values of a batch that would come back changed if they were sealed and opened for good again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Connection, Enum, String

from sqlalchemy_cmk.columns.legacy import decrypts
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.read_back import KeepsAll
from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.rekey.job import Move
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.values import as_json

REASON = "opened for good again it would not be the same, byte for byte"


class ReadBack:
    """Finds the plain values of one move that would come back changed.

    Args:
        layout: the table.
        move: from plain to sealed values.
    """

    def __init__(self, layout: Layout, move: Move) -> None:
        self._seals: Any = move.seals
        self._kept: KeepsAll | None = None
        # Another library encrypts the same value to other bytes each time: values are compared, not bytes.
        self._by_value = not move.opens_sealed and decrypts(move.opens)
        if isinstance(move.seals, EncryptedType) and not (move.opens_sealed or self._by_value):
            self._kept = layout.database.keeps_all(move.opens, layout.column(move.source).type)

    def changed(self, connection: Connection, values: Sequence[Any], forms: Sequence[Any]) -> set[int]:
        """Return the positions of the values that would come back changed, without those that do not fit.

        Args:
            connection: to the database; its transaction goes on.
            values: what was read.
            forms: what is stored, in the form of ``Database.exact``.
        """
        if self._by_value:
            return {i for i, value in enumerate(values) if not self._comes_back(value)}
        if self._kept is None:
            return set()
        there = {i: self._there_and_back(values[i]) for i, form in enumerate(forms) if form is not None}
        there = {i: value for i, value in there.items() if value is not None}
        if not there:
            return set()
        kept = list(self._kept(connection, list(there.values()), [forms[i] for i in there]))
        return {i for i, is_kept in zip(there, kept, strict=True) if not is_kept}

    def _comes_back(self, value: Any) -> bool:
        back = self._there_and_back(value)
        return back is None or bool(self._seals.codec.encode(back) == self._seals.codec.encode(value))

    def _there_and_back(self, value: Any) -> Any:
        codec = self._seals.codec
        try:
            back = codec.decode(codec.encode(value))
        except InvalidValue:
            return None
        return as_json(back) if isinstance(self._seals.type_, JSON) else back


def needs_look(layout: Layout, move: Move) -> bool:
    """Return whether a plain column may hold values that cannot be sealed, or would come back changed."""
    stored, declared = layout.column(move.source).type, move.opens
    if layout.database.stores_bytes_in_any_column or layout.database.keeps_all(declared, stored) is not None:
        return True
    if isinstance(declared, Enum) or not (isinstance(declared, String) and isinstance(stored, String)):
        return True
    return declared.length is not None and (stored.length is None or stored.length > declared.length)
