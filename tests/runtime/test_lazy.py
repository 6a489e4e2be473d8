"""A package's face imports a module only when one of its names is used."""

import subprocess
import sys

import pytest

from sqlalchemy_cmk.runtime.lazy import lazy_names


def test_a_name_comes_from_its_home_and_no_other_name_exists() -> None:
    find = lazy_names("sqlalchemy_cmk.runtime", {"Pace": "pace"})
    assert find("Pace").__module__ == "sqlalchemy_cmk.runtime.pace"
    with pytest.raises(AttributeError, match="has no attribute 'Peace'"):
        find("Peace")


@pytest.mark.parametrize(
    ("name", "extra"), [("AzureKeyVaultProvider", "azure"), ("Pkcs11KeyProvider", "pkcs11")]
)
def test_without_its_extra_a_provider_says_what_to_install(name: str, extra: str) -> None:
    script = f"import sys; sys.modules[{extra!r}] = None; from sqlalchemy_cmk.providers import {name}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"{name} needs {extra}" in done.stderr and f"sqlalchemy-cmk[{extra}]" in done.stderr


@pytest.mark.parametrize(
    ("package", "unused"),
    [
        ("sqlalchemy_cmk.providers", "sqlalchemy_cmk.providers.azure"),
        ("sqlalchemy_cmk.rekey", "sqlalchemy_cmk.rekey.engine"),
        ("sqlalchemy_cmk.testing", "sqlalchemy_cmk.testing.emulator"),
    ],
)
def test_importing_a_package_leaves_its_parts_alone(package: str, unused: str) -> None:
    script = f"import sys, {package}; print({unused!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
