"""The core stands on sqlalchemy, cryptography and msgspec alone."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for absent in ("greenlet", "azure", "pkcs11", "flask", "alembic", "dask", "click", "rich", "pydantic"):
    sys.modules[absent] = None
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
metadata = MetaData()
notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("t", EncryptedType(String)))
engine = create_engine("sqlite:///notes.db")
keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider("keys.json")])
keyring.protect(metadata)
metadata.create_all(engine)
with engine.begin() as connection:
    connection.execute(notes.insert(), [{"t": "one"}, {"t": "two"}])
    print(connection.execute(select(notes.c.t)).scalars().all())
"""


def test_the_core_works_without_any_optional_package(tmp_path: object) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=str(tmp_path), capture_output=True, text=True)
    assert done.stdout.strip() == "['one', 'two']", done.stderr


PUBLIC = """
    EncryptedType Keyring Sealed carry_scope check_scope tenant_scope
    CmkError TenantRequired KeyRevoked KeyUnavailable TamperedError ConfigurationError
"""


@pytest.mark.parametrize("name", PUBLIC.split())
def test_the_public_names_are_importable_from_the_package(name: str) -> None:
    import sqlalchemy_cmk

    assert name in sqlalchemy_cmk.__all__ and hasattr(sqlalchemy_cmk, name)
