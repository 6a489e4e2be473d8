"""Seal a tenant's rows under the DEK that its old KEK has never wrapped.

When: after ``moved``. From here on the old KEK and an old backup of the key tables open no row of this
database, except in deterministic columns, whose DEK stays. Changing that is a planned step of its own,
``op.rotate_dek(tenant, "deterministic")`` and ``op.reencrypt``, between which lookups miss rows.

    alembic -n keys -x tenant=hillside upgrade moved_rows
"""

from alembic import context, op

revision = "moved_rows"
down_revision = "moved"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tenant = context.get_x_argument(as_dictionary=True).get("tenant", "hillside")
    op.reencrypt("patients", tenant=tenant)


def downgrade() -> None:
    op.nothing_to_undo("the rows open under the new DEK as they did under the old one")
