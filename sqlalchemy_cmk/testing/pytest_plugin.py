"""Fixtures for pytest: an emulator for the session, and a new vault for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault


@pytest.fixture(scope="session")
def key_vault_emulator() -> Iterator[KeyVaultEmulator]:
    """An emulator of Azure Key Vault, one for the session."""
    from sqlalchemy_cmk.testing import KeyVaultEmulator

    with KeyVaultEmulator() as emulator:
        yield emulator


@pytest.fixture
def key_vault(key_vault_emulator: KeyVaultEmulator) -> Iterator[Vault]:
    """An emulated vault that no other test has used."""
    vault = key_vault_emulator.vault(f"test-{uuid4().hex[:12]}")
    yield vault
    vault.faults.clear()
