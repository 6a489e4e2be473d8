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


NEEDS = {
    "azure": "from sqlalchemy_cmk.providers import AzureKeyVaultProvider",
    "boto3": "from sqlalchemy_cmk.providers import AwsKmsProvider",
    "pkcs11": "from sqlalchemy_cmk.providers import Pkcs11KeyProvider",
    "flask": "from sqlalchemy_cmk.flask import CMK",
    "trustme": "from sqlalchemy_cmk.testing import KeyVaultEmulator; KeyVaultEmulator().__enter__()",
    **dict.fromkeys(("click", "rich", "alembic"), "from sqlalchemy_cmk.cli import main; main()"),
}
EXTRAS = {"boto3": "aws", "trustme": "testing", **dict.fromkeys(("click", "rich", "alembic"), "cli")}


@pytest.mark.parametrize("module", NEEDS)
def test_without_an_extra_it_is_said_what_to_install(module: str) -> None:
    script = f"import sys; sys.modules[{module!r}] = None; {NEEDS[module]}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    said = done.stderr.splitlines()[-1]
    assert f"needs {module}" in said and f"pip install 'sqlalchemy-cmk[{EXTRAS.get(module, module)}]'" in said


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
