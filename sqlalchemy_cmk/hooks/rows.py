"""All that rows of one statement write into sealed columns: INSERT, UPDATE and upserts bring their rows here.

A row is known by its parameters, its tenant and, where columns are row-bound, its identity. Nothing else in
the library seals a row's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from sqlalchemy import BindParameter, Connection, Null, Table
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.types import NullType

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import RowIdentity, identity_of
from sqlalchemy_cmk.columns.plain import PlainWriter
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.columns.writing import ColumnWriter, writer_of
from sqlalchemy_cmk.errors import InvalidValue, TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.hooks.row_tokens import RowTokens
from sqlalchemy_cmk.hooks.values import MISSING, Row, as_element, known_value
from sqlalchemy_cmk.keys.binding.held_keys import Holders
from sqlalchemy_cmk.keys.opening.questions import ActiveDek
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# The positions of rows by their owner.
Groups = Mapping[str, Sequence[int]]


class RowWriter:
    """Seals what the rows of one statement write into one table.

    Args:
        table: the table.
        connection: where the statement runs; the keys of its database seal the rows.

    Attributes:
        columns: the table's sealed columns by key.
        identity: what identifies its rows for row-bound columns; ``None`` if it has none.
        tokens: makes what is written into hidden columns.
    """

    def __init__(self, table: Table, connection: Connection) -> None:
        self.table = table
        self._connection = connection
        self.columns = sealed_columns(table)
        bound = any(column.scheme.row_bound for column in self.columns.values())
        self.identity: RowIdentity | None = identity_of(table) if bound else None
        self._encode = None if self.identity is None else self.identity.encoder(connection.dialect)
        self._holders = Holders()
        self.tokens = RowTokens(table, connection, self._holders)
        self._writers: dict[str, ColumnWriter | PlainWriter] = {}

    def seal_rows(
        self,
        rows: Sequence[Row],
        tenants: Sequence[str],
        keys: Iterable[str],
        identities: Sequence[Sequence[Any]] | None = None,
    ) -> None:
        """Seal the named values of many rows in place.

        Args:
            rows: the parameters of each row.
            tenants: the tenant of each row.
            keys: the keys of the sealed columns that the statement writes; rows may lack one.
            identities: what the identity columns of each row hold; ``None`` if no column is row-bound.
        """
        groups = {key: _grouped(rows, key, self._owners(key, tenants)) for key in keys}
        self._open_keys(rows, groups)
        every: list[bytes] | None = None
        for key, owned in groups.items():
            is_bound = self.columns[key].scheme.row_bound
            if is_bound and every is None:
                every = self._bound_all(identities)
            for tenant, at in owned.items():
                chosen = [rows[i] for i in at]
                values = [row[key] for row in chosen]
                self.require_owner(key, values, tenant)
                self.tokens.write(key, chosen, values, tenant)
                bound = None
                if is_bound and every is not None:
                    bound = [every[i] for i in at]
                elif is_bound:
                    held = [None if identities is None else identities[i] for i in at]
                    bound = [self.bound(key, value, one) for value, one in zip(values, held, strict=True)]
                sealed = self.writer(key).seal_all(values, tenant, bound)
                for row, value in zip(chosen, sealed, strict=True):
                    row[key] = value

    def let_go(self) -> None:
        """Hold no key any more; those of further rows are asked for again."""
        self._holders.let_go()

    def _open_keys(self, rows: Sequence[Row], groups: Mapping[str, Groups]) -> None:
        """Open the keys of many tenants side by side; that of one alone is opened where it seals."""
        needed: dict[ActiveDek, ColumnWriter] = {}
        for key, owned in groups.items():
            writer = self.writer(key)
            if len(owned) > 1 and isinstance(writer, ColumnWriter):
                for tenant, at in owned.items():
                    values = [rows[i][key] for i in at]
                    self.require_owner(key, values, tenant)
                    needed |= dict.fromkeys(writer.keys_for(values, tenant), writer)
        if needed:
            next(iter(needed.values())).open_all(needed)

    def _bound_all(self, identities: Sequence[Sequence[Any]] | None) -> list[bytes] | None:
        """Return the row identities of many rows; ``None`` if one is not known or cannot be bound."""
        if identities and self._encode is not None:
            try:
                return self._encode.all(list(zip(*identities, strict=True)))
            except InvalidValue:
                pass  # each is looked at by itself: a row without a value needs no identity
        return None

    def seal_embedded(
        self,
        values: Mapping[str, Any],
        rows: Sequence[Row],
        tenants: Sequence[str],
        identities: Sequence[Sequence[Any]] | None = None,
    ) -> Row:
        """Return elements of ``values()`` sealed: a named parameter in each row, one value for all rows.

        What they write into hidden columns is with them, or in the rows.

        Args:
            values: the elements by the keys of sealed columns.
            rows: as for :meth:`seal_rows`, as are ``tenants`` and ``identities``.

        Raises:
            TenantRequired: one value would be written to rows of several tenants.
            UnsupportedOperation: one value of a row-bound column would be written to several rows.
        """
        sealed: Row = {}
        for key, value in values.items():
            each: Iterable[Sequence[Any] | None] = repeat(None) if identities is None else identities
            named = isinstance(value, BindParameter) and value.key in rows[0]
            if not named:
                self._require_one(key, value, rows, tenants)
            for row, tenant, identity in zip(rows if named else rows[:1], tenants, each, strict=False):
                if named:
                    self.tokens.write(key, (row,), (row[value.key],), self.owner(key, tenant))
                else:
                    sealed.update(self.token_elements(key, value, tenant, row))
                sealed[key] = self.seal_element(key, value, tenant, row, identity)
        return sealed

    def _require_one(self, key: str, value: Any, rows: Sequence[Row], tenants: Sequence[str]) -> None:
        column = self.columns[key]
        if column.is_tenants and len(set(tenants)) != 1:
            raise TenantRequired(
                f"{self.table.fullname}: one value for rows of several tenants: put it into each row"
            )
        if len(rows) > 1 and self.needs_identity(key, known_value(value, rows[0])):
            raise UnsupportedOperation(
                f"{self.table.fullname}: one value of the row-bound column {key!r} for several rows: put it "
                "into each row"
            )

    def is_value(self, key: str, value: Any, params: Row) -> bool:
        """Return whether an element of ``values()`` gives a column a value, not NULL."""
        known = known_value(value, params)
        return known is not None or self.columns[key].column.type.should_evaluate_none

    def needs_identity(self, key: str, value: Any) -> bool:
        """Return whether a value has to be bound to its row: not NULL, and not what the database copies."""
        column = self.columns[key]
        is_null = isinstance(value, Null) or (value is None and not column.column.type.should_evaluate_none)
        return column.scheme.row_bound and not is_null and value is not MISSING

    def seal_value(
        self, key: str, value: Any, tenant: str, params: Row, identity: Sequence[Any] | None = None
    ) -> Any:
        """Return what to write for an element of ``values()``: sealed, or SQL that holds no plaintext.

        Args:
            key: the sealed column.
            value: a Python value, a bound parameter, or SQL.
            tenant: the row's tenant.
            params: the execution's parameters, for values given by ``bindparam("name")``; changed in place.
            identity: what the row's identity columns hold.

        Raises:
            UnsupportedOperation: SQL that would write a plaintext into the column.
        """
        column = self.columns[key]
        element = value.__clause_element__() if hasattr(value, "__clause_element__") else value
        if isinstance(element, BindParameter):
            if not isinstance(element.type, EncryptedType | NullType):
                raise UnsupportedOperation(
                    f"{column.where}: a parameter of type {element.type!r} would be written unsealed: "
                    "give the value itself; that of a lambda's variable as a parameter of the execution"
                )
            if element.key in params:
                params[element.key] = self.seal_plain(key, params[element.key], tenant, identity)
                return value
            if element.required:  # SQLAlchemy says that it was not given
                return value
            return self.seal_plain(key, element.effective_value, tenant, identity)
        if isinstance(element, ClauseElement):
            if isinstance(element, Null) or same_values(column, element):
                return value
            raise UnsupportedOperation(
                f"{column.where}: a SQL expression would write a plaintext into a sealed column: "
                "compute the value in Python"
            )
        return self.seal_plain(key, element, tenant, identity)

    def is_indexed(self, key: str) -> bool:
        """Return whether tokens are written beside a column's values."""
        return self.tokens.is_indexed(key)

    def token_elements(self, key: str, value: Any, tenant: str, params: Row) -> Row:
        """Return what ``values()`` writes into hidden columns beside a value that is not sealed yet."""
        return self.tokens.elements(key, value, self.owner(key, tenant), params)

    def seal_plain(self, key: str, value: Any, tenant: str, identity: Sequence[Any] | None = None) -> Any:
        """Return a Python value sealed; raises as :meth:`ColumnWriter.seal` does."""
        owner = self.owner(key, tenant)
        self.require_owner(key, (value,), owner)
        return self.writer(key).seal(value, owner, self.bound(key, value, identity))

    def seal_element(
        self, key: str, value: Any, tenant: str, params: Row, identity: Sequence[Any] | None = None
    ) -> Any:
        """Return :meth:`seal_value` as a SQL element, the form in which ``values()`` keeps it."""
        return as_element(self.columns[key], self.seal_value(key, value, tenant, params, identity))

    def writer(self, key: str) -> ColumnWriter | PlainWriter:
        """Return what seals one column's values for this statement."""
        writer = self._writers.get(key)
        if writer is None:
            column = self.columns[key]
            writer = self._writers[key] = writer_of(column, self._connection, self._holders, writes=True)
        return writer

    def bound(self, key: str, value: Any, identity: Sequence[Any] | None) -> bytes:
        """Return the row identity that a column's value is bound to; empty if it is bound to none.

        Raises:
            UnsupportedOperation: it is not known before the row is written.
        """
        column = self.columns[key]
        if self.identity is None or self._encode is None or not self.needs_identity(key, value):
            return b""
        reason = "the statement does not name it"
        if identity is not None and not any(one is MISSING for one in identity):
            try:
                return self._encode(identity)
            except InvalidValue as error:
                reason = str(error)
        names = ", ".join(self.identity.keys)
        raise UnsupportedOperation(
            f"{column.where} is row-bound, and its row's {names} is not known before it is written "
            f"({reason}): give it a Python default such as default=uuid4, or name other columns in "
            "__cmk_row__"
        )

    def require_owner(self, key: str, values: Iterable[Any], owner: str) -> None:
        """Refuse values of a column of tenants whose row names none.

        Raises:
            TenantRequired: one of them is not ``None``.
        """
        column = self.columns[key]
        if owner == PLATFORM_TENANT and column.is_tenants and any(value is not None for value in values):
            raise TenantRequired(f"{column.where}: the row does not name its tenant: set its tenant column")

    def owner(self, key: str, tenant: str) -> str:
        """Return whose value it is that a tenant's row has in a column."""
        return tenant if self.columns[key].is_tenants else PLATFORM_TENANT

    def _owners(self, key: str, tenants: Sequence[str]) -> Sequence[str]:
        return tenants if self.columns[key].is_tenants else [PLATFORM_TENANT] * len(tenants)


def _grouped(rows: Sequence[Row], key: str, owners: Sequence[str]) -> Groups:
    """Return the positions of the rows that write a column, by their owner."""
    if len(set(owners)) == 1 and all(key in row for row in rows):
        return {owners[0]: range(len(rows))}
    found: dict[str, Any] = {}
    for i, (row, owner) in enumerate(zip(rows, owners, strict=True)):
        if key in row:
            found.setdefault(owner, []).append(i)
    return found


def same_values(column: SealedColumn, element: Any) -> bool:
    """Return whether SQL gives stored values of the same context and owner, which may be copied."""
    other = getattr(getattr(element, "type", None), "sealed_column", None)
    if not isinstance(element, ColumnClause) or not isinstance(other, SealedColumn):
        return False
    if other.context != column.context or other.is_tenants is not column.is_tenants:
        return False
    if other.scheme.row_bound or column.scheme.row_bound:
        # The ORM's annotated copy of a table has its hash; an alias, whose row is another one, has not.
        same_row = other.table is column.table and hash(element.table) == hash(column.table)
        if not (same_row and other.scheme.row_bound and column.scheme.row_bound):
            return False
    return column.scheme.reads_all_of(other.scheme)
