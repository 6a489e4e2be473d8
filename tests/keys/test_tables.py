"""The key tables: each package registers its own, and all of them are always there."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, inspect

from sqlalchemy_cmk import ConfigurationError, Keyring
from sqlalchemy_cmk.keys.storage.tables import make_all_tables, make_key_tables
from sqlalchemy_cmk.providers import LocalKeyProvider

KEYS = {"cmk_tenants", "cmk_deks", "cmk_wrappings", "cmk_audit", "cmk_audit_head", "cmk_locks"}
OTHERS = {
    "cmk_rekey_runs",
    "cmk_rekey_ranges",
    "cmk_rekey_damaged",
    "cmk_columns",
    "cmk_conversions",
    "cmk_indexes",
    "cmk_requests",
    "cmk_deliveries",
}
OPTIONAL = ("alembic", "azure", "click", "dask", "distributed", "pkcs11", "rich")


def test_the_keyring_makes_its_own_tables_and_those_of_every_package(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    metadata = MetaData()
    provider = LocalKeyProvider(tmp_path / "keys.json")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
    keyring.protect(metadata)
    metadata.create_all(engine)
    assert set(inspect(engine).get_table_names()) == KEYS | OTHERS
    assert keyring.database.missing() == [] and keyring.database.table_names == KEYS | OTHERS
    keyring.close()


def test_the_keys_know_no_table_of_another_package() -> None:
    metadata = MetaData()
    make_key_tables(metadata, "cmk_")
    assert set(metadata.tables) == KEYS


def test_tables_that_are_there_are_found_and_not_made_again() -> None:
    metadata = MetaData()
    first = make_all_tables(metadata, "cmk_")
    assert make_all_tables(metadata, "cmk_") == first and len(metadata.tables) == 14


def test_missing_tables_and_columns_are_named(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    provider = LocalKeyProvider(tmp_path / "keys.json")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
    metadata = MetaData()
    make_all_tables(metadata, "cmk_")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE cmk_columns")
        connection.exec_driver_sql("ALTER TABLE cmk_deks DROP COLUMN retired_at")
    assert keyring.database.missing() == ["the column cmk_deks.retired_at", "the table cmk_columns"]
    with pytest.raises(ConfigurationError, match=r"lack the column cmk_deks\.retired_at: run"):
        keyring.warm(["acme"], new=True)
    keyring.close()


def test_registering_the_tables_imports_no_optional_package() -> None:
    script = f"import sys, sqlalchemy_cmk; print([one for one in {OPTIONAL} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
