"""What a conversion turns into what: a column of plain values into a sealed one, or the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, Table, and_, column, text
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.registry import Entry
from sqlalchemy_cmk.alembic.shadow import shadow_of
from sqlalchemy_cmk.alembic.tenants import Tenancy
from sqlalchemy_cmk.rekey import Job, Move
from sqlalchemy_cmk.types import EncryptedType


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
        tenancy: where rows tell their tenant.
    """

    table: str
    schema: str | None
    column: str
    opens: TypeEngine[Any]
    seals: TypeEngine[Any]
    nullable: bool
    default: str | None
    tenancy: Tenancy

    @property
    def fullname(self) -> str:
        """The table's name with its schema."""
        return f"{self.schema}.{self.table}" if self.schema else self.table

    @property
    def where(self) -> str:
        """``table.column``, for messages."""
        return f"{self.fullname}.{self.column}"

    @property
    def shadow(self) -> str:
        """The name of the shadow column."""
        return shadow_of(self.column)

    @property
    def entry(self) -> Entry | None:
        """The column's entry in the table of sealed columns afterwards."""
        if not isinstance(self.seals, EncryptedType):
            return None
        return Entry.of(self.fullname, self.column, self.seals, self.tenancy)

    @property
    def tag(self) -> str:
        """A name for what the conversion puts into the database for its time. It sorts late.

        PostgreSQL runs triggers in the order of their names, and this one has to see what others did.
        """
        return f"zz_cmk_{sha256(self.where.encode()).hexdigest()[:16]}"

    @property
    def job(self) -> Job:
        """The engine's work."""
        move = Move(self.column, self.shadow, self.opens, self.seals)
        return Job(self.table, (move,), self.schema, self.tenancy.column, self.tenancy.type_)

    @property
    def watched(self) -> tuple[str, ...]:
        """The columns whose change makes the shadow stale: a row of another tenant is sealed anew."""
        tenant = self.tenancy.column
        return (self.column,) if tenant is None or "." in tenant else (self.column, tenant)

    @property
    def left(self) -> ColumnElement[bool]:
        """The rows whose shadow is still empty."""
        source: ColumnElement[Any] = column(self.column)
        return and_(source.is_not(None), column(self.shadow).is_(None))

    def new_column(self, name: str, *, final: bool) -> Column[Any]:
        """Return a column of the new type: the shadow, or what it becomes."""
        default = text(self.default) if final and self.default is not None else None
        type_: Any = self.seals
        return Column(name, type_.copy(), nullable=self.nullable or not final, server_default=default)


def quoted(dialect: Dialect, table: Table) -> str:
    """Return a table's name as SQL writes it."""
    return dialect.identifier_preparer.format_table(table)
