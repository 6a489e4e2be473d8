"""The clinic as it was before: every column of the patients in plain text."""

import sqlalchemy as sa
from alembic import op

revision = "plain"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "patients",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("clinic", sa.String(40), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("ssn", sa.String(11), nullable=False),
        sa.Column("email", sa.String(120), nullable=False),
        sa.Column("born", sa.Date(), nullable=False),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("clinic", "email", name="uq_patients_clinic_email"),
    )
    op.create_index("ix_patients_clinic", "patients", ["clinic"])


def downgrade() -> None:
    op.drop_table("patients")
