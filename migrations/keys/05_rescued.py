"""Take a tenant back to the platform's KEK, while its own still opens: from CMK to PMK.

When: the customer is about to lose its KEK (a vault that ends, a subscription that runs out), or no longer
wants to hold it, and has asked for this in writing: from here on it can switch nothing off. Its DEKs are
wrapped by the platform's KEK alone; no row is touched. With the old KEK and an old backup of the key tables
the DEKs can still be opened: "moved" says how to end that too.

Where the KEK refuses already, this is refused and nothing has changed. Ask for access back, if only for an
hour; or leave the rows sealed, for which there is nothing to run: columns with on_revoked="seal" give Sealed
objects until access comes back; or go on with "shredded".

    alembic -n keys -x tenant=hillside -x kek=https://hillside.vault.azure.net/keys/clinic upgrade rescued
"""

from alembic import context, op

from examples.history.keys import PLATFORM_KEY

revision = "rescued"
down_revision = "kek_rotated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tenant, kek = arguments()
    op.assign_tenant_key(tenant, PLATFORM_KEY, existing_kek=kek)


def downgrade() -> None:
    # The customer holds its KEK again, and that one opens.
    tenant, kek = arguments()
    op.assign_tenant_key(tenant, kek, existing_kek=PLATFORM_KEY)


def arguments() -> tuple[str, str]:
    given = context.get_x_argument(as_dictionary=True)
    return given.get("tenant", "hillside"), given.get("kek", "local:hillside")
