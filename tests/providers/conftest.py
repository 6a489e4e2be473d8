"""Places where KEKs live: vaults that the Azure SDK talks to over TLS, and tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.token_places import TokenPlace
from tests.support.hsm.softhsm import SoftHsm


@pytest.fixture(scope="session")
def emulator() -> Iterator[KeyVaultEmulator]:
    with KeyVaultEmulator() as running:
        yield running


@pytest.fixture(params=["softhsm", "nss"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TokenPlace]:
    """A token of each kind in turn."""
    place = TokenPlace(request.getfixturevalue(request.param), tmp_path)
    yield place
    place.close()


@pytest.fixture
def soft(softhsm: SoftHsm, tmp_path: Path) -> Iterator[TokenPlace]:
    """A token of SoftHSM, for what does not differ between tokens."""
    place = TokenPlace(softhsm, tmp_path)
    yield place
    place.close()
