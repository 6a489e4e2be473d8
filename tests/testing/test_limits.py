"""Key Vault's service limits, by the emulator's clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.testing.conftest import DEK, Client, problem


@pytest.fixture
def frozen() -> Iterator[KeyVaultEmulator]:
    with KeyVaultEmulator() as emulator:
        emulator.freeze(at=1_900_000_000)
        yield emulator


@pytest.fixture
def limited(frozen: KeyVaultEmulator) -> Vault:
    return frozen.vault("busy")


@pytest.fixture
def client(frozen: KeyVaultEmulator, limited: Vault) -> Iterator[Client]:
    with (
        frozen.credential(frozen.admin) as credential,
        Client(limited.url, credential, retry_total=0, **frozen.client_options) as client,
    ):
        yield client


def accepted(client: Client, key: str, at_most: int) -> int:
    """How many wrappings are done before the first that is throttled."""
    for number in range(at_most + 1):
        answer = client.use("wrapkey", key, "RSA-OAEP-256", DEK)
        if answer.status_code == 429:
            assert problem(answer)[1] == "Throttled" and answer.headers["Retry-After"] == "10"
            return number
    raise AssertionError("nothing was throttled")


@pytest.mark.parametrize(
    ("kty", "size", "limit"),
    [
        ("RSA", 2048, 4000),
        ("RSA", 3072, 1000),
        ("RSA", 4096, 500),
        ("RSA-HSM", 2048, 2000),
        ("RSA-HSM", 3072, 500),
        ("RSA-HSM", 4096, 250),
    ],
)
def test_each_kind_of_key_has_the_published_limit(
    client: Client, limited: Vault, kty: str, size: int, limit: int
) -> None:
    limited.create_key("kek", kty, size)
    limited.enforce_limits(scale=0.02)
    assert accepted(client, "kek", limit) == limit * 0.02


def test_kinds_add_up_by_their_weights_and_time_gives_them_back(
    frozen: KeyVaultEmulator, client: Client, limited: Vault
) -> None:
    limited.create_key("small")
    limited.create_key("large", size=4096)
    limited.enforce_limits(scale=0.01)
    for _ in range(20):
        client.wrap("small")
    assert accepted(client, "large", 5) == 2
    frozen.advance(7)
    answer = client.use("wrapkey", "large", "RSA-OAEP-256", DEK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    frozen.advance(3)
    assert accepted(client, "large", 5) == 5


def test_making_keys_has_a_limit_of_its_own(client: Client, limited: Vault) -> None:
    limited.enforce_limits()
    for number in range(20):
        client.create_rsa_key(f"kek-{number}")
    answer = client.use("wrapkey", "kek-0", "RSA-OAEP-256", DEK)
    assert answer.status_code == 429
    assert limited.requests.count(operation="create", status=200) == 20


def test_a_managed_hsm_is_not_throttled_by_transactions(hsm: Vault) -> None:
    with pytest.raises(ValueError, match="not throttled"):
        hsm.enforce_limits()
