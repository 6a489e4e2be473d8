"""The plan of a conversion: a column of plain values becomes a sealed one, or the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Column, text
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.registry.read import Entry, scheme_of
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.columns.scheme import name_of
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.quoting import fitting
from sqlalchemy_cmk.rekey import Job, Move, pinned
from sqlalchemy_cmk.rekey.job import RowColumns, fullname

# The shadow column: a column's values are written there in their other form until the two change places.
SUFFIX = "__cmk"


@dataclass(frozen=True)
class Plan:
    """One conversion.

    Attributes:
        table: the table's name.
        schema: its schema.
        column: the column's name.
        opens: the type of the values that are there; an ``EncryptedType`` has its context.
        seals: the type of the values that will be there, likewise.
        nullable: whether the column takes NULL.
        default: the text of its default in the database afterwards.
        rows: how the table's rows name their tenant and themselves.
        existing_row_columns: what identified a row, where that changes.
        plaintexts: the values that are there are plaintexts, though they look like ciphertext.
        existing_default: the text of the column's default before, which the downgrade puts back.
    """

    table: str
    schema: str | None
    column: str
    opens: TypeEngine[Any]
    seals: TypeEngine[Any]
    nullable: bool
    default: str | None
    rows: TableRows
    existing_row_columns: RowColumns = ()
    existing_default: str | None = None
    plaintexts: bool = False

    @property
    def name(self) -> ColumnName:
        """The column."""
        return ColumnName(self.schema, self.table, self.column)

    @property
    def fullname(self) -> str:
        """The table's name with its schema."""
        return fullname(self.table, self.schema)

    @property
    def where(self) -> str:
        """``table.column``, for messages."""
        return str(self.name)

    @property
    def shadow(self) -> str:
        """The name of the shadow column."""
        return shadow_of(self.column)

    @property
    def entry(self) -> Entry | None:
        """The column's entry in the table of sealed columns afterwards."""
        if not isinstance(self.seals, EncryptedType):
            return None
        return Entry.of(self.name, self.seals, self.rows)

    @property
    def scheme(self) -> str | None:
        """How the column is sealed afterwards, as in the table of sealed columns; ``None`` for plain."""
        return None if self.entry is None else scheme_of(self.entry)

    @property
    def fingerprint(self) -> str:
        """A text that is the same only for a plan that gives the same values for the same rows."""
        return sha256(f"{self.job.fingerprint}\n{self.rows.tenant_type!r}".encode()).hexdigest()

    @property
    def tag(self) -> str:
        """The name of triggers and constraints that exist during the conversion. It sorts late.

        PostgreSQL runs triggers in the order of their names, and this one has to see what others did.
        """
        return f"zz_cmk_{sha256(repr(tuple(self.name)).encode()).hexdigest()[:16]}"

    @property
    def job(self) -> Job:
        """The job that copies the column to its shadow."""
        return self._job(self.shadow)

    @property
    def job_in_place(self) -> Job:
        """The job that changes the column's values where they are."""
        return self._job(self.column)

    @property
    def watched(self) -> tuple[str, ...]:
        """The columns whose change makes the shadow stale: the source, and what the row is named by."""
        tenant = self.rows.tenant_column
        bound_to = self.rows.row_columns if _is_bound(self.seals) else ()
        names = (self.column, *([tenant] if isinstance(tenant, str) else []), *(name for name, _ in bound_to))
        return tuple(dict.fromkeys(names))

    def _job(self, target: str) -> Job:
        move = Move(self.column, target, self.opens, self.seals, self.existing_row_columns)
        return self.rows.job(self.schema, self.table, (move,))

    def new_column(self, name: str, *, final: bool) -> Column[Any]:
        """Return a column of the new type: the shadow, or what it becomes."""
        default = text(self.default) if final and self.default is not None else None
        type_: Any = self.seals
        return Column(name, type_.copy(), nullable=self.nullable or not final, server_default=default)


def bound(type_: Any, name: ColumnName) -> Any:
    """Return a type that belongs to no column; a sealed one with its context."""
    if not isinstance(type_, EncryptedType):
        return type_() if isinstance(type_, type) else type_
    if type_.scheme.context is not None:
        return pinned(type_)
    return type_.with_options(context=name_of(type_.scheme.bound_to(*name)))


def shadow_of(column: str) -> str:
    """Return the name of a column's shadow."""
    return fitting(column, SUFFIX)


def is_shadow(column: str) -> bool:
    """Return whether a column is a shadow."""
    return column.endswith(SUFFIX)


def _is_bound(type_: Any) -> bool:
    return isinstance(type_, EncryptedType) and type_.scheme.row_bound
