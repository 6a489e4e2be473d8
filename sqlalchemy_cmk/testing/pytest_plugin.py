"""The pytest plugin: a keyring and a tenant for each test, an emulated vault, and ``--cmk-check``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from sqlalchemy_cmk import Keyring
    from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault

# Its assertions say what differs, as those of a test module do.
pytest.register_assert_rewrite("sqlalchemy_cmk.testing.provider_contract")

_UNDEFINED = "the fixture cmk_keyring needs {name}: define it in conftest.py, and return {what}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--cmk-check``."""
    parser.getgroup("sqlalchemy_cmk").addoption(
        "--cmk-check",
        action="store_true",
        help="Seal nothing, and print every statement that sealing would refuse, with its file and line.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin the dry run before the application's modules are imported, and its keyring made."""
    if early_config.known_args_namespace.cmk_check:
        from sqlalchemy_cmk.keys.dry_run import run_dry
        from sqlalchemy_cmk.testing.check_plugin import NAME, CheckPlugin

        early_config.pluginmanager.register(CheckPlugin(run_dry()), NAME)


@pytest.fixture
def cmk_engine() -> Any:
    """The application's engine, sync or async; to be defined by the test suite, in any scope."""
    pytest.fail(_UNDEFINED.format(name="cmk_engine", what="the engine that the tests run on"))


@pytest.fixture
def cmk_base() -> Any:
    """The application's declarative base or ``MetaData``; to be defined by the test suite, in any scope."""
    pytest.fail(_UNDEFINED.format(name="cmk_base", what="the declarative base of the models"))


@pytest.fixture
def cmk_keyring(cmk_engine: Any, cmk_base: Any) -> Iterator[Keyring]:
    """A keyring with KEKs in memory that protects ``cmk_base`` on ``cmk_engine`` for one test.

    Tables that are missing are made, the key tables included. The KEKs are the same in every process and
    known to anyone: a database that one test run has left opens in the next.
    """
    from sqlalchemy_cmk import Keyring
    from sqlalchemy_cmk.testing.known_keys import KnownKeys

    settings: dict[str, Any] = {
        "platform_key": "local:platform",
        "providers": [KnownKeys()],
        "record_key": partial(KnownKeys.known, "record key"),
    }
    with Keyring(cmk_engine, **settings) as keyring:
        keyring.protect(cmk_base)
        _make_missing_tables(keyring, cmk_engine)
        yield keyring


def _make_missing_tables(keyring: Keyring, engine: Any) -> None:
    from sqlalchemy_cmk.runtime.blocking import off_the_loop

    for metadata in keyring.protected:
        if not hasattr(engine, "sync_engine"):
            metadata.create_all(engine)
        elif not keyring.connections.in_memory:  # else only the application's own connection sees its tables
            off_the_loop(partial(keyring.connections.run, metadata.create_all))


@pytest.fixture
def cmk_tenant(cmk_keyring: Keyring) -> str:
    """The name of a tenant whose keys are open: no key is made while the test holds locks."""
    from sqlalchemy_cmk.keys.model import Purpose

    name = "cmk-tenant"
    cmk_keyring.warm([name], Purpose, new=True)
    return name


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
