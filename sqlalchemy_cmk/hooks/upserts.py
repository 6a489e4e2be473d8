"""Upserts: what a conflict writes is sealed for the row that is there, and that row stays its tenant's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, Insert, and_, case, type_coerce

from sqlalchemy_cmk.columns.asking import hidden_of
from sqlalchemy_cmk.columns.tenants import TenantSource
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.comparing import exactly
from sqlalchemy_cmk.errors import TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.hooks.compounds import compound_elements
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.hooks.values import Row, column_of, refuse_shared
from sqlalchemy_cmk.scope import PLATFORM_TENANT


def seal_upsert(
    dialect: Dialect,
    statement: Insert,
    writer: RowWriter,
    source: TenantSource | None,
    rows: list[Row],
    tenants: list[str],
) -> Insert:
    """Seal what the ON CONFLICT or ON DUPLICATE KEY clause of an INSERT writes, if it has one.

    Args:
        dialect: the database's.
        statement: the INSERT.
        writer: seals the rows of its table.
        source: where its rows tell their tenant.
        rows: the parameters, a dict each; changed in place where the clause names one of them.
        tenants: the tenant of each row.

    Raises:
        TenantRequired: one value for rows of several tenants.
        UnsupportedOperation: a value is SQL, the tenant column is set, or the clause looks for a conflict in
            a randomized column.
    """
    _refuse_randomized_target(writer, statement)
    pairs = private.upsert_assignments(statement)
    if pairs is None:
        return statement
    work = _UpsertSealer(dialect, statement, writer, source, rows, tenants)
    conditional = private.upsert_takes_condition(statement)
    return work.on_conflict(pairs) if conditional else work.on_duplicate(pairs)


def _refuse_randomized_target(writer: RowWriter, statement: Insert) -> None:
    """Refuse an upsert that looks for a conflict where every value is unlike every other."""
    names = private.upsert_targets(statement)
    for column in writer.columns.values():
        if not column.scheme.deterministic and names & {column.column.key, column.column.name}:
            raise UnsupportedOperation(
                f"{column.where} is sealed with a random nonce: an upsert finds no conflict in it; declare "
                "it EncryptedType(..., deterministic=True), or name other columns in index_elements"
            )


class _UpsertSealer:
    def __init__(
        self,
        dialect: Dialect,
        statement: Any,
        writer: RowWriter,
        source: TenantSource | None,
        rows: list[Row],
        tenants: list[str],
    ) -> None:
        self.dialect = dialect
        self.statement = statement
        self.writer = writer
        self.table = writer.table
        self.columns = writer.columns
        self.source = source
        self.rows = rows
        self.tenants = tenants

    def on_conflict(self, pairs: list[tuple[Any, Any]]) -> Insert:
        """Leave a row of another tenant alone by a condition."""
        changed, touches = self.assignments(pairs)
        same = self.same_tenant(self.statement.excluded) if touches else None
        return private.with_upsert(self.statement, changed, same)

    def on_duplicate(self, pairs: list[tuple[Any, Any]]) -> Insert:
        """Leave a row of another tenant alone by setting what it holds: the clause takes no condition."""
        new = self.statement.inserted
        changed, touches = self.assignments(pairs)
        same = self.same_tenant(new) if touches else None
        if same is not None:
            changed = [(key, self.conditional(same, key, value)) for key, value in changed]
        return private.with_upsert(self.statement, changed)

    def conditional(self, same: ColumnElement[bool], key: Any, value: Any) -> Any:
        name = column_of(self.statement, self.table, key)
        if not name:
            return value
        before = self.table.c[name]
        return case((same, type_coerce(value, before.type)), else_=before)

    def same_tenant(self, new: Any) -> ColumnElement[bool] | None:
        """Return the condition that the row that is there belongs to the new row's tenant."""
        if self.source is None:
            return None
        if self.source.table is not self.table:  # its row in the base table is the same one
            return and_(*(column == new[column.key] for column in self.source.keys))
        owner = self.source.column
        return exactly(owner, self.dialect) == exactly(new[owner.key], self.dialect)

    def assignments(self, given: Iterable[tuple[Any, Any]]) -> tuple[list[tuple[Any, Any]], bool]:
        """Return the clause's pairs with their values sealed, and whether they touch what a tenant owns."""
        changed, touches = [], False
        pairs = [(raw, value, column_of(self.statement, self.table, raw)) for raw, value in given]
        together = list(self.together({key: value for _, value, key in pairs if key is not None}))
        for raw, value, key in pairs:
            if key is None:
                self.refuse_unknown(raw)
            column = self.columns.get(key or "")
            if column is not None:
                touches = touches or column.is_tenants
                tokens = self.tokens(str(key), value)
                value = self.sealed(str(key), value)
                changed += tokens
            elif self.is_identity(key):
                self.refuse_moving_identity(str(key))
            elif self.source is not None and self.source.column is self.table.c.get(key or ""):
                touches = True
                self.refuse_moving(self.source, value)
            changed.append((raw, value))
        return [*changed, *together], touches

    def together(self, given: Row) -> Iterator[tuple[str, Any]]:
        """Return what the clause writes for indexes over several columns; before values are sealed."""
        for one in self.writer.tokens.compounds:
            values = [given[key] for key in one.column_keys if key in given]
            if values and len(values) < len(one.column_keys):
                raise UnsupportedOperation(
                    f"{self.table.fullname}: an upsert sets some of the columns of {one.named}, whose token "
                    "is of all of them: set all"
                )
            if not values:
                continue
            if all(map(self.is_of_new_row, one.column_keys, values)):
                for slot in self.writer.tokens.slots_together(one):
                    yield slot.key, hidden_of(values[0], one, slot.number)
                continue
            if len(self.rows) > 1 and any(isinstance(one, BindParameter) for one in values):
                raise UnsupportedOperation(
                    f"{self.table.fullname}: an upsert of several rows writes the tokens of {one.named} from "
                    "excluded columns only, not from parameters"
                )
            tenant = self.only() if one.sealed.is_tenants else PLATFORM_TENANT
            yield from compound_elements(
                self.writer, dict(zip(one.column_keys, values, strict=True)), tenant, self.rows[0]
            ).items()

    def is_of_new_row(self, key: str, value: Any) -> bool:
        """Return whether a value is a column as the row has it that an upsert brings."""
        table = getattr(value, "table", None)
        return table not in (None, self.table) and self.table.c[key] in getattr(value, "base_columns", ())

    def sealed(self, key: str, value: Any) -> Any:
        self.refuse_row_bound(key)
        if isinstance(value, BindParameter) and value.key in self.rows[0]:
            refuse_shared(self.statement, [value], self.rows)
            each: Sequence[str] = self.tenants
            if len(self.rows) != len(self.tenants):
                tenant = self.only() if self.columns[key].is_tenants else PLATFORM_TENANT
                each = [tenant] * len(self.rows)
            for row, tenant in zip(self.rows, each, strict=True):
                self.writer.seal_value(key, value, tenant, row)
            return value
        plain = isinstance(value, BindParameter) or not hasattr(value, "__visit_name__")
        tenant = self.only() if plain and self.columns[key].is_tenants else self.tenants[0]
        return self.writer.seal_element(key, value, tenant, {})

    def tokens(self, key: str, value: Any) -> list[tuple[str, Any]]:
        """Return what the clause writes into hidden columns beside a value that is not sealed yet."""
        named = isinstance(value, BindParameter) and value.key in self.rows[0]
        if named and len(self.rows) > 1 and self.writer.is_indexed(key):
            raise UnsupportedOperation(
                f"{self.columns[key].where} has a search index: an upsert of several rows writes its tokens "
                f"from excluded.{key} only, not from the parameter {value.key!r}"
            )
        return list(self.writer.token_elements(key, value, self.tenants[0], self.rows[0]).items())

    def refuse_row_bound(self, key: str) -> None:
        column = self.columns[key]
        if column.scheme.row_bound:
            raise UnsupportedOperation(
                f"{column.where} is row-bound: an upsert cannot say which row it changes; update the row by "
                "its primary key"
            )

    def is_identity(self, key: str | None) -> bool:
        return self.writer.identity is not None and key in self.writer.identity.keys

    def refuse_moving_identity(self, key: str) -> None:
        raise UnsupportedOperation(
            f"{self.table.fullname}: an upsert of {key!r}, which identifies the row, would leave row-bound "
            "values under the old identity: change the attribute of loaded objects, and the flush seals them "
            "again"
        )

    def only(self) -> str:
        if len(set(self.tenants)) != 1:
            raise TenantRequired(
                f"{self.table.fullname}: one value for rows of several tenants: put it into each row"
            )
        return self.tenants[0]

    def refuse_moving(self, source: TenantSource, value: Any) -> None:
        """Let the tenant column be set to the new row's only, which :meth:`same_tenant` makes no change."""
        of_new_row = getattr(value, "table", None) not in (None, self.table)
        if not of_new_row or source.column not in getattr(value, "base_columns", ()):
            raise UnsupportedOperation(
                f"{self.table.fullname}: an upsert of the tenant column {source.column.key!r} would leave "
                "values under the old tenant's key: change the attribute of loaded objects"
            )

    def refuse_unknown(self, raw: Any) -> None:
        """Refuse a column's name where its key is another: SQLAlchemy would write the value as it is."""
        for column in self.table.c:
            if column.name == str(raw) and column.key != str(raw):
                raise UnsupportedOperation(
                    f"{self.table.fullname}: an upsert names its columns by key: {column.key!r}, not {raw!r}"
                )
