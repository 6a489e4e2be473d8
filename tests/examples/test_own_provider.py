"""The example of a provider of one's own passes the contract, and serves a keyring."""

from collections.abc import Iterator

import pytest

from examples.own_provider.provider import TransitProvider
from examples.own_provider.server import TransitServer
from sqlalchemy_cmk import CredentialError, KeyUnavailable
from sqlalchemy_cmk.providers import Secret
from sqlalchemy_cmk.testing import KekPlace, ProviderContract

DEK = Secret(bytes(range(32)))


class TransitPlace:
    kek_uri = "transit:clinic-kek"
    other_kek_uri = "transit:other-kek"

    def __init__(self, server: TransitServer) -> None:
        self.server = server
        self.server.rotate("other-kek")
        self.rotate()
        self.provider = self.new_provider()

    def rotate(self) -> None:
        self.server.rotate("clinic-kek")

    def revoke(self) -> None:
        self.server.revoked.add("clinic-kek")

    def restore(self) -> None:
        self.server.revoked.clear()

    def new_provider(self) -> TransitProvider:
        return TransitProvider("127.0.0.1", self.server.port, self.server.token)


@pytest.fixture
def kek_place() -> Iterator[KekPlace]:
    with TransitServer("a token") as server:
        yield TransitPlace(server)


class TestTransit(ProviderContract):
    def unknown_version(self, version: str) -> str:
        return "v999"


def test_a_wrong_token_is_neither_revoked_nor_unavailable(kek_place: TransitPlace) -> None:
    with pytest.raises(CredentialError):
        TransitProvider("127.0.0.1", kek_place.server.port, "another").wrap(kek_place.kek_uri, DEK)


def test_a_service_that_is_away_is_unavailable() -> None:
    with pytest.raises(KeyUnavailable):
        TransitProvider("127.0.0.1", 9, "a token").wrap("transit:clinic-kek", DEK)
