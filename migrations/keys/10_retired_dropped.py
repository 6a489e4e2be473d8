"""Destroy DEKs that no row needs any more.

When: some time after rows were sealed again, when the backups that hold values under the old DEKs
are rotated: a restored row under a destroyed DEK does not open. Refused while one row is left, with
the count.

    alembic -n keys -x tenant=riverside upgrade retired_dropped
"""

from alembic import context, op

revision = "retired_dropped"
down_revision = "kek_rotated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tenant = context.get_x_argument(as_dictionary=True).get("tenant", "riverside")
    op.drop_retired_deks(tenant)


def downgrade() -> None:
    op.refuse_downgrade("the retired DEKs were destroyed")
