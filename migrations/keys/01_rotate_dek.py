"""Give a tenant a new DEK, under which new values are sealed from now on.

When: on a schedule of your own, or because a DEK may have leaked: from a memory dump, or a stolen
backup together with the KEK that opens it. The old DEK is retired and opens what it sealed. The
rows follow in the next migration; apart, because this one would make another DEK if it was run again.

    alembic -n keys -x tenant=riverside upgrade rotate_dek
"""

from alembic import context, op

revision = "rotate_dek"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rotate_dek(context.get_x_argument(as_dictionary=True).get("tenant", "riverside"))


def downgrade() -> None:
    op.nothing_to_undo("the new DEK stays: values may be sealed under it")
