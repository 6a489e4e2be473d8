"""Running applications: one for a session and kind of database, and one for tests that put copies back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.adversary.town import Town
from tests.conftest import server_url
from tests.support.databases import Database, server_database, sqlite_file

RECORD_KEY = "0f" * 32


@contextmanager
def running(
    request: pytest.FixtureRequest, emulator: KeyVaultEmulator, record_key: str, policy: bool
) -> Iterator[Town]:
    folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("town")
    with database_of(request, folder) as database:
        town = Town(database.url, folder, emulator, record_key, policy)
        try:
            yield town
        finally:
            town.close()


@contextmanager
def database_of(request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield sqlite_file(folder)
        return
    with server_database(request.param, server_url(request)) as made:
        yield made


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, key_vault_emulator: KeyVaultEmulator) -> Iterator[Town]:
    """A running application with all three locks; its tests use tenants of their own."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp("record-key")
    with running(request, key_vault_emulator, record_key_in(folder), True) as town:
        yield town


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def bare_town(request: pytest.FixtureRequest, key_vault_emulator: KeyVaultEmulator) -> Iterator[Town]:
    """A running application without a record key and without a list of vaults."""
    with running(request, key_vault_emulator, "", False) as town:
        yield town


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def own_town(request: pytest.FixtureRequest, key_vault_emulator: KeyVaultEmulator) -> Iterator[Town]:
    """An application for the tests of one module, which may put back all of its database."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp("record-key")
    with running(request, key_vault_emulator, record_key_in(folder), True) as town:
        yield town


def record_key_in(folder: Path) -> str:
    """A record key in a file outside the database."""
    path = folder / "record.key"
    path.write_text(RECORD_KEY)
    path.chmod(0o600)
    return f"file:{path}"
