"""Providers of installed packages, found by their entry points."""

from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.providers import LocalKeyProvider, installed_providers, load_provider

POINTS = """[sqlalchemy_cmk.providers]
transit = a_transit:make
missing = no_such_module:Provider
number = builtins:int
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that has a provider, and others that are no providers."""
    info = tmp_path / "a_transit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-transit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "a_transit.py").write_text("from sqlalchemy_cmk.providers import LocalKeyProvider as make\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_an_installed_provider_is_made_with_its_own_arguments(tmp_path: Path) -> None:
    assert installed_providers()["transit"] == "a_transit:make"
    provider = load_provider("transit", path=tmp_path / "keys.json")
    assert isinstance(provider, LocalKeyProvider) and provider.place_of("") == str(tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("transir", "did you mean 'transit'"),
        ("xyz", "no installed package has a key provider 'xyz'"),
        ("missing", "cannot be imported"),
        ("number", "gives no KeyProvider but int"),
    ],
)
def test_what_is_no_provider_is_refused_with_what_to_do(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_provider(name)
