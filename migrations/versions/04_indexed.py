"""Find patients by how their names begin.

When: the models declare the index and the code that knows it is about to be deployed. It is what
``alembic revision --autogenerate`` writes. It works while the application runs; if it is killed, run it
again, and it goes on.

Processes that do not know the index may not write the column once rows get their tokens. Where an old version
still runs, make two migrations of it: ``phase="expand"`` before the new version is deployed, and
``phase="fill"`` when only the new one runs. ``downgrade`` drops the index: run it before the version
without the index is deployed.
"""

import sqlalchemy as sa
from alembic import op

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.search import Prefix

revision = "indexed"
down_revision = "sealed"
branch_labels = None
depends_on = None

NAME = {"existing_type": EncryptedType(sa.String(80)), "tenant_column": "clinic"}


def upgrade() -> None:
    op.create_sealed_index("patients", "name", Prefix(), **NAME)


def downgrade() -> None:
    op.drop_sealed_index("patients", "name", Prefix(), **NAME)
