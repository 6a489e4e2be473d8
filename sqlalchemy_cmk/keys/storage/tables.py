"""The key tables: tenants, DEKs, wrappings, the audit trail and locks. They hold no key in the clear.

Packages with tables of their own register them with :func:`register_tables`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.schema import BLANK_SCHEMA, SchemaItem
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.types import fixed_bytes_type, long_bytes_type

_DEK_ID = fixed_bytes_type(8)
_MAC = fixed_bytes_type(32)

TableBuilder = Callable[[MetaData, str], object]

_builders: list[TableBuilder] = []


class ExactText(TypeDecorator[str]):
    """Text that every database compares byte by byte: 'acme', 'ACME' and 'acme ' are three tenants."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's type for such a text."""
        return dialect.type_descriptor(database_of(dialect).exact_text_type(self.length))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Return UTF-8 bytes where the column holds bytes."""
        return None if value is None else database_of(dialect).exact_value(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return text where the column holds UTF-8 bytes."""
        return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True, slots=True)
class KeyTables:
    """The key tables of one ``MetaData``."""

    tenants: Table
    deks: Table
    wrappings: Table
    audit: Table
    audit_head: Table
    locks: Table


def register_tables(build: TableBuilder) -> None:
    """Create a package's tables wherever the key tables are created.

    Args:
        build: given a ``MetaData`` and the prefix of the tables' names, puts the tables there with
            :func:`own_table`, or finds them there.
    """
    if build not in _builders:
        _builders.append(build)


def make_all_tables(metadata: MetaData, prefix: str) -> KeyTables:
    """Put the key tables and every registered table into a ``MetaData``, or find them there.

    Args:
        metadata: where ``create_all`` and Alembic's autogenerate look for tables. Its default schema does not
            apply to these tables: the keyring uses the connection's own.
        prefix: the prefix of the tables' names.
    """
    tables = make_key_tables(metadata, prefix)
    for build in _builders:
        build(metadata, prefix)
    return tables


def tables_of_keyrings(prefix: str) -> tuple[MetaData, KeyTables]:
    """Return the tables that every keyring of this process with this prefix uses, and their ``MetaData``.

    One for all: a process may make many keyrings, one for each test for instance.
    """
    return _tables_of_keyrings(prefix, tuple(_builders))


@cache
def _tables_of_keyrings(prefix: str, builders: tuple[TableBuilder, ...]) -> tuple[MetaData, KeyTables]:
    metadata = MetaData()
    return metadata, make_all_tables(metadata, prefix)


def make_key_tables(metadata: MetaData, prefix: str) -> KeyTables:
    """Put the key tables into a ``MetaData``, or find them there."""
    tenants = _tenants(metadata, f"{prefix}tenants")
    deks = _deks(metadata, f"{prefix}deks", tenants)
    return KeyTables(
        tenants,
        deks,
        _wrappings(metadata, f"{prefix}wrappings", deks),
        _audit(metadata, f"{prefix}audit"),
        _audit_head(metadata, f"{prefix}audit_head"),
        _locks(metadata, f"{prefix}locks"),
    )


def own_table(metadata: MetaData, name: str, *items: SchemaItem) -> Table:
    """Put a table of the library into a ``MetaData``, or find it there."""
    found = metadata.tables.get(name)
    return Table(name, metadata, *items, schema=BLANK_SCHEMA) if found is None else found


def missing_tables(connection: Connection, metadata: MetaData) -> list[str]:
    """Return the tables of a ``MetaData``, and columns of those that exist, that the database lacks.

    Each is named as in "the table cmk_deks" and "the column cmk_deks.purpose".
    """
    inspector, missing = inspect(connection), []
    for table in metadata.tables.values():
        if not inspector.has_table(table.name):
            missing.append(f"the table {table.name}")
            continue
        there = {column["name"] for column in inspector.get_columns(table.name)}
        missing += [f"the column {table.name}.{one.name}" for one in table.columns if one.name not in there]
    return missing


def _tenants(metadata: MetaData, tenants: str) -> Table:
    return own_table(
        metadata,
        tenants,
        Column("tenant", ExactText(190), primary_key=True),
        Column("kek_uri", ExactText(500), nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("state", String(10), nullable=False),
        Column("reason", Text, nullable=True),
        Column("state_since", DateTime(timezone=True), nullable=False),
        Column("outage_grace", Double, nullable=True),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("manifest", long_bytes_type(), nullable=True),
        Column("manifest_mac", _MAC, nullable=True),
        Column("record_key", String(16), nullable=True),
        Column("seen_at", DateTime(timezone=True), nullable=True),
        Index(f"ix_{tenants}_state", "state", "tenant"),
        Index(f"ix_{tenants}_kek_uri", "kek_uri", "tenant"),
    )


def _deks(metadata: MetaData, deks: str, tenants: Table) -> Table:
    # active_slot is 1 for the active DEK and NULL for others. Every database treats NULLs as distinct in a
    # unique constraint, so there is at most one active DEK per tenant and purpose.
    return own_table(
        metadata,
        deks,
        Column("id", _DEK_ID, primary_key=True),
        Column("tenant", ExactText(190), ForeignKey(tenants.c.tenant), nullable=False),
        Column("purpose", String(20), nullable=False),
        Column("state", String(10), nullable=False),
        Column("active_slot", Integer, nullable=True),
        Column("check_value", _MAC, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("retired_at", DateTime(timezone=True), nullable=True),
        Column("longest_use", Double, nullable=False),
        UniqueConstraint("tenant", "purpose", "active_slot", name=f"uq_{deks}_active"),
        Index(f"ix_{deks}_state", "state", "tenant"),
    )


def _wrappings(metadata: MetaData, wrappings: str, deks: Table) -> Table:
    return own_table(
        metadata,
        wrappings,
        Column("dek_id", _DEK_ID, ForeignKey(deks.c.id), primary_key=True),
        Column("kek_uri", ExactText(500), primary_key=True),
        Column("kek_version", String(255), nullable=False),
        Column("algorithm", String(50), nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Index(f"ix_{wrappings}_kek_uri", "kek_uri"),
    )


def _audit(metadata: MetaData, audit: str) -> Table:
    # The time is text: what was hashed must be read back to the last digit from every database.
    return own_table(
        metadata,
        audit,
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
        Column("epoch", Integer, nullable=False),
        Column("previous", String(64), nullable=False),
        Column("key_id", String(16), nullable=False),
        Column("hash", String(64), nullable=False),
        Column("mac", String(64), nullable=False),
        Index(f"ix_{audit}_tenant", "tenant"),
    )


def _audit_head(metadata: MetaData, audit_head: str) -> Table:
    return own_table(
        metadata,
        audit_head,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, nullable=False),
        Column("hash", String(64), nullable=False),
        Column("key_id", String(16), nullable=False),
        Column("mac", String(64), nullable=False),
    )


def _locks(metadata: MetaData, locks: str) -> Table:
    # One row for all tenants: every process that holds keys reads it every few seconds.
    return own_table(
        metadata,
        locks,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("generation", BigInteger, nullable=False),
    )
