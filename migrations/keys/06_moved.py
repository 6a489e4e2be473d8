"""Move a tenant off a KEK that its owner gives up, while that KEK still opens.

When: the customer's KEK may have leaked, or the customer says that it will be switched off, and access
lasts a little longer (or was given back for this). Its DEKs are wrapped by the customer's new KEK, and
new values are sealed under a new DEK, which the old KEK has never wrapped. The rows follow in the next
migration.

    alembic -n keys -x tenant=hillside -x kek=local:hillside-2 upgrade moved
"""

from alembic import context, op

revision = "moved"
down_revision = "kek_rotated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    given = context.get_x_argument(as_dictionary=True)
    tenant, kek = given.get("tenant", "hillside"), given.get("kek", "local:hillside-2")
    op.assign_tenant_key(tenant, kek, fresh_dek=True)


def downgrade() -> None:
    op.nothing_to_undo("the tenant keeps its new KEK: nobody goes back to one that was given up")
