"""Single values sealed and opened by hand, for audit, admin and export code. See :class:`ValueDoors`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.runtime.kinds import several, takes

Rows = Sequence[Mapping[str, Any]]
VALUES = several("a list of values")


class Door(Protocol):
    """Seals and opens the values of one column."""

    def seal(self, values: Sequence[Any], tenant: object, rows: Rows | None) -> list[bytes | None]:
        """Return values sealed."""

    def open(self, stored: Sequence[Any], tenant: object, rows: Rows | None) -> list[Any]:
        """Return stored values opened."""


# Makes the door of a column, given a keyring. The keys know nothing of columns, whose package puts it here.
door_makers: list[Callable[[Any, Any], Door]] = []


class ValueDoors(ABC):
    """Seals and opens values of a column whose statement SQLAlchemy does not see.

    Each method takes the column as a model's attribute or a table's column, and checks what a statement
    would: whose value it is, that the scope agrees, the key's deadline, the row where the column is
    row-bound. Tokens of search indexes are not made: write the values of an indexed column by a statement.
    """

    @property
    @abstractmethod
    def keys(self) -> EngineKeys:
        """The keys that a call is about."""

    def seal(
        self, column: Any, value: Any, *, tenant: object = None, row: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """Return a value as the column stores it; ``None`` for ``None``, unless the type keeps a null.

        Args:
            column: the sealed column, as ``Patient.ssn``.
            value: the Python value.
            tenant: whose value it is, as the row's tenant column holds it. Default: the scope's; leave it out
                where the values are the platform's.
            row: what the row identity columns hold, by their keys, where the column is row-bound.

        Raises:
            TenantRequired: neither ``tenant`` nor a scope says whose value it is.
            TenantMismatch: both do, and they differ; or the values are the platform's.
            InvalidValue: the value does not fit the declared type, or the row cannot be bound.
            UnsupportedOperation: the column is row-bound, and ``row`` is not given.
            ConfigurationError: the column is not sealed, or not protected by this keyring.
            KeyRevoked: the owner's KEK refuses.
            KeyUnavailable: the owner's KEK or the key tables cannot be reached.
        """
        return self.seal_all(column, (value,), tenant=tenant, rows=None if row is None else (row,))[0]

    def open(
        self,
        column: Any,
        stored: bytes | None,
        *,
        tenant: object = None,
        row: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value of what the column stores.

        Args:
            column: the sealed column, as ``Patient.ssn``.
            stored: the stored bytes.
            tenant: as for :meth:`seal`, as is ``row``.

        Raises:
            TamperedError: it is not a sealed value of this column and row, or was altered.
            TenantMismatch: it is another tenant's; or as :meth:`seal`, for all else too.
        """
        return self.open_all(column, (stored,), tenant=tenant, rows=None if row is None else (row,))[0]

    @takes(values=VALUES)
    def seal_all(
        self, column: Any, values: Sequence[Any], *, tenant: object = None, rows: Rows | None = None
    ) -> list[bytes | None]:
        """Return many values of one owner as the column stores them; see :meth:`seal`.

        Args:
            column: the sealed column.
            values: the Python values.
            tenant: whose they are.
            rows: the row of each, where the column is row-bound.
        """
        return self._door(column).seal(values, tenant, rows)

    @takes(stored=VALUES)
    def open_all(
        self, column: Any, stored: Sequence[Any], *, tenant: object = None, rows: Rows | None = None
    ) -> list[Any]:
        """Return the values of many stored ones of one owner; see :meth:`open`.

        Args:
            column: the sealed column.
            stored: the stored bytes.
            tenant: whose they are.
            rows: the row of each, where the column is row-bound.
        """
        return self._door(column).open(stored, tenant, rows)

    def _door(self, column: Any) -> Door:
        return door_makers[0](self, column)
