"""SoftHSM and NSS run the contract of every provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.contract import ProviderContract
from tests.providers.token_places import TokenPlace
from tests.support.hsm.nss import Nss
from tests.support.hsm.softhsm import SoftHsm


class TestSoftHsm(ProviderContract):
    @pytest.fixture
    def kek_place(self, softhsm: SoftHsm, tmp_path: Path) -> Iterator[TokenPlace]:
        place = TokenPlace(softhsm, tmp_path)
        yield place
        place.close()


class TestNss(ProviderContract):
    @pytest.fixture
    def kek_place(self, nss: Nss, tmp_path: Path) -> Iterator[TokenPlace]:
        place = TokenPlace(nss, tmp_path)
        yield place
        place.close()
