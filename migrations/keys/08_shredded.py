"""Give up the data of a tenant whose KEK is gone for good.

When: the customer has destroyed the KEK, or says that access will not come back. The DEKs that
nobody can open any more are destroyed, so that no later mistake with a KEK of that name opens them;
the rows stay, as bytes, for counts and foreign keys. ``rows="null"`` empties the columns where they
take NULL. Name the tenant twice.

    alembic -n keys -x tenant=hillside -x confirm=hillside upgrade shredded
"""

from alembic import context, op

revision = "shredded"
down_revision = "kek_rotated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    given = context.get_x_argument(as_dictionary=True)
    op.shred_tenant(given.get("tenant", "hillside"), rows="keep", confirm=given.get("confirm", ""))


def downgrade() -> None:
    op.refuse_downgrade("the tenant's keys were destroyed; nobody can bring its data back")
