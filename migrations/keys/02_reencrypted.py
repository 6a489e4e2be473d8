"""Seal a tenant's rows under its new DEK.

When: after ``rotate_dek``. It works while the application runs, at ``-x rate=`` rows a second. If it is
killed, run it again: it goes on. If another process has sealed rows under the old DEK in the meantime, it
waits for the keyring's ``revalidate_after``, until every process has seen the new one. Columns with
``owner="platform"`` are left alone: they are no tenant's.

    alembic -n keys -x tenant=riverside -x rate=2000 upgrade reencrypted
"""

from alembic import context, op

revision = "reencrypted"
down_revision = "rotate_dek"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tenant = context.get_x_argument(as_dictionary=True).get("tenant", "riverside")
    op.reencrypt("patients", tenant=tenant)


def downgrade() -> None:
    op.nothing_to_undo("the rows open under the new DEK as they did under the old one")
