"""A Key Vault and a Managed HSM that the Azure SDK talks to over TLS."""

from collections.abc import Iterator

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[KeyVaultEmulator]:
    with KeyVaultEmulator() as running:
        yield running
