"""What rows of one statement write into the hidden columns of search indexes. See :class:`RowTokens`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Null, Table, bindparam
from sqlalchemy.sql import ClauseElement

from sqlalchemy_cmk.columns.asking import hidden_beside
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.token_columns import TokenIndex, TokenType, token_indexes
from sqlalchemy_cmk.columns.tokens import TokenWriter
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.values import MISSING, Row, known_value
from sqlalchemy_cmk.keys.binding.held_keys import Holders


class RowTokens:
    """Makes the tokens that stand beside the sealed values of one statement's rows.

    Args:
        table: the table.
        connection: where the statement runs.
        holders: what the statement holds of its keys.
    """

    def __init__(self, table: Table, connection: Connection, holders: Holders) -> None:
        # In a dry run values are not sealed, and have no tokens.
        self._indexes = {
            key: found
            for key, found in token_indexes(table).items()
            if found and found[0].sealed.dry_run is None
        }
        self._connection = connection
        self._holders = holders
        self._writers: dict[TokenIndex, TokenWriter] = {}

    def is_indexed(self, key: str) -> bool:
        """Return whether tokens are written beside a column's values."""
        return key in self._indexes

    def write(self, key: str, rows: Sequence[Row], values: Sequence[Any], owner: str) -> None:
        """Put tokens of values into the parameters of their rows.

        Args:
            key: the sealed column.
            rows: the parameters of each row, changed in place.
            values: the Python value of each row.
            owner: whose rows they are.
        """
        for one in self._indexes.get(key, ()):
            tokens = self._writer(one).of_all(values, owner)
            for row, token in zip(rows, tokens, strict=True):
                row[one.key] = token

    def elements(self, key: str, value: Any, owner: str, params: Row) -> dict[str, Any]:
        """Return what ``values()`` writes beside a value, by the keys of the hidden columns.

        Args:
            key: the sealed column.
            value: a Python value, a bound parameter, or SQL that copies a sealed column.
            owner: whose row it is.
            params: the execution's parameters, before they are sealed.

        Raises:
            UnsupportedOperation: SQL that copies a column without an equal index.
        """
        return {
            one.key: element
            for one in self._indexes.get(key, ())
            if (element := self._element(one, value, owner, params)) is not None
        }

    def _element(self, one: TokenIndex, value: Any, owner: str, params: Row) -> Any:
        element = value.__clause_element__() if hasattr(value, "__clause_element__") else value
        if isinstance(element, ClauseElement) and not isinstance(element, BindParameter | Null):
            copied = hidden_beside(element, one)
            if copied is None:
                raise UnsupportedOperation(
                    f"{one.sealed.where}: what is copied has no tokens for the index {one.index.suffix!r}: "
                    "give the value itself, or declare an equal index on the other column"
                )
            return copied
        known = known_value(element, params)
        if known is MISSING:
            return None
        token = self._writer(one).of_all((known,), owner)[0]
        return bindparam(None, token, type_=TokenType(one.index, token_index=one), unique=True)

    def _writer(self, one: TokenIndex) -> TokenWriter:
        writer = self._writers.get(one)
        if writer is None:
            sealed: SealedColumn = one.sealed
            keys = self._holders[sealed.keys_on(self._connection, writes=True)]
            writer = self._writers[one] = TokenWriter(one, keys)
        return writer
