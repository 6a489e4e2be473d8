"""A vault for each test, and a provider whose credential is blocking or asynchronous."""

from collections.abc import Iterator
from typing import Any

import pytest

from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.places import AzurePlace, vault_place


@pytest.fixture
def place(emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
    place = vault_place(emulator)
    yield place
    place.close()


class Reach:
    """Makes providers for a place."""

    def __init__(self, place: AzurePlace, kind: str) -> None:
        self._place = place
        self._kind = kind

    def provider(self, **options: Any) -> AzureKeyVaultProvider:
        return self._place.new_provider(
            credential=getattr(self._place.emulator, self._kind), **{"retries": 0, **options}
        )


@pytest.fixture(params=["credential", "async_credential"])
def reach(place: AzurePlace, request: pytest.FixtureRequest) -> Reach:
    return Reach(place, request.param)
