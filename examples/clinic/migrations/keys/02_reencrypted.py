"""Seal a tenant's rows under its new DEK.

When: after ``rotate_dek``. It works beside the application, at ``-x rate=`` rows a second; when it is
killed it is run again and goes on. It waits until every process has seen the new DEK, as long as the
keyring's ``revalidate_after``, if one of them has sealed rows under the old one meanwhile.

    alembic -c examples/clinic/alembic.ini -n keys -x tenant=riverside -x rate=2000 upgrade reencrypted
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
