"""Alembic migrations that seal, re-encrypt and open columns, and move tenants' keys.

Installing the package registers the plugin (Alembic 1.18 or newer; extra ``[alembic]``). ``env.py`` needs two
lines, one to import the application's keyring and one where it configures the context already::

    from app import keyring
    context.configure(..., target_metadata=Base.metadata, keyring=keyring)

after ``keyring.protect(Base)``. Then ``alembic revision --autogenerate`` finds the columns that become
``EncryptedType``, those that stop being it, and those whose stored form changed: another type of values,
context, owner, row identity, ``deterministic`` or ``row_bound``. ``op`` has ``encrypt_column``,
``decrypt_column``, ``reencrypt``, ``rewrap_keys``, ``rotate_dek``, ``assign_tenant_key``, ``shred_tenant``,
and ``drop_retired_deks``.

An ``env.py`` that lists ``autogenerate_plugins`` keeps ``"alembic.autogenerate.*"`` in the list: without the
plugin Alembic writes an ``alter_column`` that destroys the column's values.
"""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from sqlalchemy_cmk.alembic.autogenerate.render_types import render_item

__all__ = ["render_item"]

# The table of sealed columns is created also where Alembic is not installed.
__getattr__ = lazy_names(__name__, {"render_item": "autogenerate.render_types"})
