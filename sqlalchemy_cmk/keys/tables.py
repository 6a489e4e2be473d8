"""The key tables: tenants, DEKs, wrappings, the audit trail, re-keying. They hold no key in the clear."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
)
from sqlalchemy.schema import BLANK_SCHEMA
from sqlalchemy.types import BINARY, VARBINARY, TypeEngine

_MYSQL = ("mysql", "mariadb")
_DEK_ID = LargeBinary(8).with_variant(BINARY(8), *_MYSQL)


class ExactText(TypeDecorator[str]):
    """Text that is compared byte by byte everywhere.

    MySQL's and MariaDB's collations hold 'acme', 'ACME' and 'acme ' for one tenant; bytes do not.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return VARBINARY on MySQL and MariaDB, VARCHAR elsewhere."""
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(VARBINARY(4 * self.length))
        return dialect.type_descriptor(String(self.length))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Send UTF-8 bytes where bytes are stored."""
        return value.encode() if value is not None and dialect.name in _MYSQL else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Read UTF-8 bytes where bytes are stored."""
        return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True, slots=True)
class KeyTables:
    """The key tables of one ``MetaData``."""

    tenants: Table
    deks: Table
    wrappings: Table
    audit: Table
    audit_head: Table
    rekey_runs: Table
    rekey_ranges: Table
    rekey_damaged: Table
    columns: Table


def make_key_tables(metadata: MetaData, prefix: str) -> KeyTables:
    """Put the key tables into a ``MetaData``, or find them there.

    Args:
        metadata: where ``create_all`` and Alembic's autogenerate look for tables. A schema that it gives its
            tables is not for these: the keyring looks for them in the connection's own.
        prefix: the beginning of their names.
    """
    names = [prefix + field.name for field in fields(KeyTables)]
    if names[0] in metadata.tables:
        return KeyTables(*(metadata.tables[name] for name in names))
    tenants, deks, wrappings, audit, audit_head, runs, ranges, damaged, columns = names
    tenants_table = _tenants(metadata, tenants)
    deks_table = _deks(metadata, deks, tenants_table)
    runs_table = _rekey_runs(metadata, runs)
    return KeyTables(
        tenants_table,
        deks_table,
        _wrappings(metadata, wrappings, deks_table),
        _audit(metadata, audit),
        _audit_head(metadata, audit_head),
        runs_table,
        _rekey_ranges(metadata, ranges, runs_table),
        _rekey_damaged(metadata, damaged, runs_table),
        _columns(metadata, columns),
    )


def _tenants(metadata: MetaData, tenants: str) -> Table:
    return Table(
        tenants,
        metadata,
        Column("tenant", ExactText(190), primary_key=True),
        Column("kek_uri", ExactText(500), nullable=False),
        Column("epoch", Integer, nullable=False, default=0),
        Column("state", String(10), nullable=False, default="ok"),
        Column("reason", Text, nullable=True),
        Column("state_since", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("seen_at", DateTime(timezone=True), nullable=True),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        schema=BLANK_SCHEMA,
    )


def _deks(metadata: MetaData, deks: str, tenants: Table) -> Table:
    # active_slot is 1 for the active DEK and NULL for others: every database holds NULLs for distinct
    # in a unique constraint, so there is at most one active DEK per tenant and purpose.
    return Table(
        deks,
        metadata,
        Column("id", _DEK_ID, primary_key=True),
        Column("tenant", ExactText(190), ForeignKey(tenants.c.tenant), nullable=False),
        Column("purpose", String(10), nullable=False),
        Column("state", String(10), nullable=False),
        Column("active_slot", Integer, nullable=True),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("retired_at", DateTime(timezone=True), nullable=True),
        UniqueConstraint("tenant", "purpose", "active_slot", name=f"uq_{deks}_active"),
        schema=BLANK_SCHEMA,
    )


def _wrappings(metadata: MetaData, wrappings: str, deks: Table) -> Table:
    return Table(
        wrappings,
        metadata,
        Column("dek_id", _DEK_ID, ForeignKey(deks.c.id), primary_key=True),
        Column("kek_uri", ExactText(500), primary_key=True),
        Column("kek_version", String(255), nullable=False),
        Column("algorithm", String(50), nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        schema=BLANK_SCHEMA,
    )


def _audit(metadata: MetaData, audit: str) -> Table:
    # The moment is text: what is hashed must come back to the last digit from every database.
    return Table(
        audit,
        metadata,
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("at", String(40), nullable=False),
        Column("event", String(20), nullable=False),
        Column("tenant", ExactText(190), nullable=False),
        Column("dek_id", String(16), nullable=False),
        Column("kek_uri", ExactText(500), nullable=False),
        Column("kek_version", String(255), nullable=False),
        Column("actor", ExactText(200), nullable=False),
        Column("origin", ExactText(200), nullable=False),
        Column("detail", ExactText(500), nullable=False),
        Column("previous", String(64), nullable=False),
        Column("hash", String(64), nullable=False),
        schema=BLANK_SCHEMA,
    )


def _audit_head(metadata: MetaData, audit_head: str) -> Table:
    return Table(
        audit_head,
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, nullable=False),
        Column("hash", String(64), nullable=False),
        schema=BLANK_SCHEMA,
    )


def _rekey_runs(metadata: MetaData, runs: str) -> Table:
    # generation fences: whoever runs it takes the next one, and workers of an earlier one can commit no more.
    return Table(
        runs,
        metadata,
        Column("id", String(16), primary_key=True),
        Column("job", String(64), nullable=False),
        # 1 until the run is done, then NULL: a job has one open run, whoever begins it at the same moment.
        Column("open_slot", Integer, nullable=True),
        Column("table_name", ExactText(255), nullable=False),
        Column("description", Text, nullable=False),
        Column("state", String(10), nullable=False),
        Column("generation", Integer, nullable=False),
        Column("passes", Integer, nullable=False),
        Column("carved", Text, nullable=True),
        Column("carved_all", Integer, nullable=False),
        Column("rows_expected", BigInteger, nullable=False),
        Column("started_at", DateTime(timezone=True), nullable=False),
        Column("ended_at", DateTime(timezone=True), nullable=True),
        UniqueConstraint("job", "open_slot", name=f"uq_{runs}_open"),
        schema=BLANK_SCHEMA,
    )


def _rekey_ranges(metadata: MetaData, ranges: str, runs: Table) -> Table:
    return Table(
        ranges,
        metadata,
        Column("run_id", String(16), ForeignKey(runs.c.id), primary_key=True),
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("low", Text, nullable=True),
        Column("high", Text, nullable=False),
        Column("position", Text, nullable=True),
        Column("step", Integer, nullable=False),
        Column("done", Integer, nullable=False),
        Column("rows_read", BigInteger, nullable=False),
        Column("rows_changed", BigInteger, nullable=False),
        Column("rows_refused", BigInteger, nullable=False),
        Column("rows_damaged", BigInteger, nullable=False),
        schema=BLANK_SCHEMA,
    )


def _rekey_damaged(metadata: MetaData, damaged: str, runs: Table) -> Table:
    return Table(
        damaged,
        metadata,
        Column("run_id", String(16), ForeignKey(runs.c.id), primary_key=True),
        Column("row_hash", String(64), primary_key=True),
        Column("row_key", Text, nullable=False),
        Column("column_name", String(255), nullable=False),
        Column("reason", Text, nullable=False),
        schema=BLANK_SCHEMA,
    )


def _columns(metadata: MetaData, columns: str) -> Table:
    # What migrations have sealed, for the database itself says only that a column holds bytes.
    return Table(
        columns,
        metadata,
        Column("table_name", ExactText(255), primary_key=True),
        Column("column_name", ExactText(128), primary_key=True),
        Column("context", ExactText(400), nullable=False),
        Column("deterministic", Boolean, nullable=False),
        Column("type", Text, nullable=False),
        Column("tenant_column", ExactText(400), nullable=True),
        Column("tenant_type", Text, nullable=True),
        schema=BLANK_SCHEMA,
    )
