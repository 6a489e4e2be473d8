"""Add the key tables, which hold wrapped DEKs and the record of what was done with them.

When: once, before the first column is sealed. ``alembic revision --autogenerate`` writes these
tables by itself after ``keyring.protect(Base)``; here they are put more briefly.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "key_tables"
down_revision = "plain"
branch_labels = None
depends_on = None


def exact(length: int) -> sa.types.TypeEngine[str]:
    """Text that is compared byte by byte on MariaDB and MySQL too, where 'acme' and 'ACME' are equal else."""
    return sa.String(length).with_variant(sa.VARBINARY(4 * length), "mysql", "mariadb")


def dek_id() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(8).with_variant(sa.BINARY(8), "mysql", "mariadb")


def mac() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")


def document() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    _create_keys()
    _create_audit()
    _create_rekey()


def _create_keys() -> None:
    op.create_table(
        "cmk_tenants",
        sa.Column("tenant", exact(190), primary_key=True),
        sa.Column("kek_uri", exact(500), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text()),
        moment("state_since"),
        sa.Column("outage_grace", sa.Double()),
        moment("created_at"),
        sa.Column("manifest", document()),
        sa.Column("manifest_mac", mac()),
        sa.Column("record_key", sa.String(16)),
        moment("seen_at", nullable=True),
        sa.Index("ix_cmk_tenants_state", "state", "tenant"),
        sa.Index("ix_cmk_tenants_kek_uri", "kek_uri", "tenant"),
    )
    op.create_table(
        "cmk_deks",
        sa.Column("id", dek_id(), primary_key=True),
        sa.Column("tenant", exact(190), sa.ForeignKey("cmk_tenants.tenant"), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("active_slot", sa.Integer()),
        sa.Column("check_value", mac(), nullable=False),
        moment("created_at"),
        moment("retired_at", nullable=True),
        sa.Column("longest_use", sa.Double(), nullable=False),
        sa.UniqueConstraint("tenant", "purpose", "active_slot", name="uq_cmk_deks_active"),
        sa.Index("ix_cmk_deks_state", "state", "tenant"),
    )
    op.create_table(
        "cmk_wrappings",
        sa.Column("dek_id", dek_id(), sa.ForeignKey("cmk_deks.id"), primary_key=True),
        sa.Column("kek_uri", exact(500), primary_key=True),
        sa.Column("kek_version", sa.String(255), nullable=False),
        sa.Column("algorithm", sa.String(50), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Index("ix_cmk_wrappings_kek_uri", "kek_uri"),
    )
    op.create_table(
        "cmk_columns",
        sa.Column("schema_name", exact(128), primary_key=True),
        sa.Column("table_name", exact(255), primary_key=True),
        sa.Column("column_name", exact(128), primary_key=True),
        sa.Column("scheme", sa.Text(), nullable=False),
    )
    op.create_table(
        "cmk_conversions",
        sa.Column("schema_name", exact(128), primary_key=True),
        sa.Column("table_name", exact(255), primary_key=True),
        sa.Column("column_name", exact(128), primary_key=True),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("scheme", sa.Text()),
    )


def _create_audit() -> None:
    op.create_table(
        "cmk_audit",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("tenant", exact(190), nullable=False),
        sa.Column("dek_id", sa.String(16), nullable=False),
        sa.Column("kek_uri", exact(500), nullable=False),
        sa.Column("kek_version", sa.String(255), nullable=False),
        sa.Column("actor", exact(200), nullable=False),
        sa.Column("origin", exact(200), nullable=False),
        sa.Column("detail", exact(500), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.Index("ix_cmk_audit_tenant", "tenant"),
    )
    op.create_table(
        "cmk_audit_head",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
    )


def _create_rekey() -> None:
    op.create_table(
        "cmk_rekey_runs",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("open_slot", sa.Integer()),
        sa.Column("table_name", exact(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("passes", sa.Integer(), nullable=False),
        sa.Column("split_up_to", sa.Text()),
        sa.Column("fully_split", sa.Integer(), nullable=False),
        sa.Column("rows_expected", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("job", "open_slot", name="uq_cmk_rekey_runs_open"),
    )
    op.create_table(
        "cmk_rekey_ranges",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("cmk_rekey_runs.id"), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("low", sa.Text()),
        sa.Column("high", sa.Text(), nullable=False),
        sa.Column("position", sa.Text()),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("rows_changed", sa.BigInteger(), nullable=False),
        sa.Column("rows_refused", sa.BigInteger(), nullable=False),
        sa.Column("rows_damaged", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "cmk_rekey_damaged",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("cmk_rekey_runs.id"), primary_key=True),
        sa.Column("row_hash", sa.String(64), primary_key=True),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.Column("column_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    # Nothing sealed is left when this runs: the migration that seals the columns was undone before.
    names = ("rekey_damaged", "rekey_ranges", "rekey_runs", "audit_head", "audit", "columns", "conversions")
    for name in (*names, "wrappings", "deks", "tenants"):
        op.drop_table(f"cmk_{name}")
