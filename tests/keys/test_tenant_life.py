"""Every provider sees a tenant's whole life through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.keys.life import TenantLife
from tests.providers.key_files import LocalPlace
from tests.providers.places import AzurePlace, hsm_place, vault_place
from tests.providers.token_places import TokenPlace
from tests.support.databases import Database
from tests.support.hsm.nss import Nss
from tests.support.hsm.softhsm import SoftHsm


class TestKeyFile(TenantLife):
    @pytest.fixture
    def kek_place(self, tmp_path: Path) -> LocalPlace:
        return LocalPlace(tmp_path / "keys.json")


class TestKeyVault(TenantLife):
    @pytest.fixture
    def kek_place(self, key_vault_emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
        place = vault_place(key_vault_emulator)
        yield place
        place.close()


class TestManagedHsm(TenantLife):
    @pytest.fixture
    def kek_place(self, key_vault_emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
        place = hsm_place(key_vault_emulator)
        yield place
        place.close()


class TestSoftHsm(TenantLife):
    @pytest.fixture
    def life_database(self, database: Database) -> Database:
        return database

    @pytest.fixture
    def kek_place(self, softhsm: SoftHsm, tmp_path: Path) -> Iterator[TokenPlace]:
        place = TokenPlace(softhsm, tmp_path)
        yield place
        place.close()


class TestNss(TenantLife):
    @pytest.fixture
    def kek_place(self, nss: Nss, tmp_path: Path) -> Iterator[TokenPlace]:
        place = TokenPlace(nss, tmp_path)
        yield place
        place.close()
