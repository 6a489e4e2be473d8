"""Add the key tables, which hold wrapped DEKs and the record of what was done with them.

When: once, before the first column is sealed. ``alembic revision --autogenerate`` writes these
lines by itself after ``keyring.protect(Base)``.
"""

from alembic import op

revision = "key_tables"
down_revision = "plain"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_key_tables()


def downgrade() -> None:
    op.drop_key_tables()
