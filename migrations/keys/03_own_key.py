"""Move a tenant from the platform's KEK to one of its own: from PMK to CMK.

When: a customer wants to hold the key. Its DEKs are wrapped by the customer's KEK alone from now
on; no row is touched. With the platform's KEK and an old backup of the key tables the old DEKs can still
be opened: ``fresh_dek=True`` also makes a new DEK for new values, and ``rotate_dek`` says what to do
about the rows.

    alembic -n keys \\
        -x tenant=hillside -x kek=https://hillside.vault.azure.net/keys/clinic upgrade own_key
"""

from alembic import context, op

from examples.history.keys import PLATFORM_KEY

revision = "own_key"
down_revision = "reencrypted"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tenant, kek = arguments()
    op.assign_tenant_key(tenant, kek, existing_kek=PLATFORM_KEY)


def downgrade() -> None:
    # As long as the customer's KEK serves: it has to open the DEKs once more.
    tenant, kek = arguments()
    op.assign_tenant_key(tenant, PLATFORM_KEY, existing_kek=kek)


def arguments() -> tuple[str, str]:
    given = context.get_x_argument(as_dictionary=True)
    return given.get("tenant", "hillside"), given.get("kek", "local:hillside")
