"""A Key Vault and a Managed HSM that the Azure SDK talks to over TLS, and tokens of two PKCS#11 modules."""

from collections.abc import Iterator

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.support.hsm.fixtures import nss, softhsm

__all__ = ["emulator", "nss", "softhsm"]


@pytest.fixture(scope="session")
def emulator() -> Iterator[KeyVaultEmulator]:
    with KeyVaultEmulator() as running:
        yield running
