"""Follow the rotation of KEKs: wrap the DEKs by each KEK's newest version.

When: a KEK has a new version, by its owner's hand or the vault's rotation policy, and the old
version is to be disabled. No row is touched. A tenant whose KEK refuses or cannot be reached is
named, the others are done, and the same command goes on later with those that are left.

    alembic -n keys upgrade kek_rotated
"""

from alembic import op

revision = "kek_rotated"
down_revision = "own_key"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rewrap_keys()


def downgrade() -> None:
    op.nothing_to_undo("the DEKs open as well by the newer version of their KEK")
