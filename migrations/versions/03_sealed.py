"""Seal the patients' personal columns; each clinic's rows under DEKs of its own.

When: the models say ``EncryptedType`` and the code that knows it is about to be deployed. It is
what ``alembic revision --autogenerate`` writes, put in a loop. It works while the application runs; if it
is killed, run it again, and it goes on. ``downgrade`` gives the plain values back, as long as every
clinic's KEK is available.
"""

import sqlalchemy as sa
from alembic import op

from sqlalchemy_cmk import EncryptedType

revision = "sealed"
down_revision = "key_tables"
branch_labels = None
depends_on = None

# The e-mail address is deterministic: it stays unique within a clinic, and can be looked up.
SEALED = {
    "name": EncryptedType(sa.String(80)),
    "ssn": EncryptedType(sa.String(11)),
    "email": EncryptedType(sa.String(120), deterministic=True),
    "born": EncryptedType(sa.Date()),
    "history": EncryptedType(sa.JSON()),
}
PLAIN = {
    "name": sa.String(80),
    "ssn": sa.String(11),
    "email": sa.String(120),
    "born": sa.Date(),
    "history": sa.JSON(),
}
COLUMN = {"existing_nullable": False, "tenant_column": "clinic"}


def upgrade() -> None:
    for name, type_ in SEALED.items():
        # After the last column the table is written anew, without the plain values in its freed pages.
        # That locks it: leave scrub out where the table is large, and do it when nobody is there.
        last = name == "history"
        op.encrypt_column("patients", name, type_, existing_type=PLAIN[name], scrub=last, **COLUMN)


def downgrade() -> None:
    # In the same order: PostgreSQL puts a new column behind the others.
    for name, type_ in PLAIN.items():
        op.decrypt_column("patients", name, type_, existing_type=SEALED[name], **COLUMN)
