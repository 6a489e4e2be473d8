"""Let a tenant go: its keys are destroyed and its rows deleted.

When: a customer has left and has taken its data along. Destroying the keys first makes the rows
unreadable at once, in this database and in every copy of it that is made from now on. Backups of
before keep the wrapped DEKs until they are rotated; a customer with its own KEK ends those too by
destroying it. Name the tenant twice.

    alembic -n keys -x tenant=hillside -x confirm=hillside upgrade offboarded
"""

from alembic import context, op

revision = "offboarded"
down_revision = "kek_rotated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    given = context.get_x_argument(as_dictionary=True)
    op.shred_tenant(given.get("tenant", "hillside"), rows="delete", confirm=given.get("confirm", ""))


def downgrade() -> None:
    op.refuse_downgrade("the tenant's keys were destroyed and its rows deleted")
