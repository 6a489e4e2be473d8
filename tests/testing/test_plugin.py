"""The pytest plugin: fixtures for those who install the package, at no cost for those who do not use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator

ALONE = """
import sys
for absent in ("azure", "trustme", "aiohttp", "requests"):
    sys.modules[absent] = None
import sqlalchemy_cmk
before = set(sys.modules)
import pytest
import sqlalchemy_cmk.testing.pytest_plugin
own = sorted(name for name in sys.modules if name.startswith("sqlalchemy_cmk.testing"))
print(*own, "http.server" in sys.modules)
"""

TESTS = """
def test_one(key_vault, key_vault_emulator):
    key_vault.create_key("kek")
    assert key_vault in key_vault_emulator
    key_vault.faults.down()

def test_two(key_vault, key_vault_emulator):
    from azure.keyvault.keys import KeyClient
    key_vault.create_key("kek")
    client = KeyClient(key_vault.url, key_vault_emulator.credential(), **key_vault_emulator.client_options)
    assert client.get_key("kek").id == key_vault.versions("kek")[0].kid
    assert len(list(key_vault_emulator)) == 2
"""


def test_the_plugin_needs_nothing_before_a_fixture_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert done.stdout.split() == [
        "sqlalchemy_cmk.testing",
        "sqlalchemy_cmk.testing.pytest_plugin",
        "False",
    ], done.stderr


def test_the_installed_package_brings_a_running_emulator_and_a_fresh_vault(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


def test_without_trustme_the_emulator_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(Exception, match=r"needs trustme: run pip install 'sqlalchemy-cmk\[testing\]'"):
        KeyVaultEmulator().start()


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    import sqlalchemy_cmk.testing

    with pytest.raises(AttributeError, match="no attribute 'KeyVault'"):
        sqlalchemy_cmk.testing.KeyVault  # noqa: B018
    assert all(hasattr(sqlalchemy_cmk.testing, name) for name in sqlalchemy_cmk.testing.__all__)
