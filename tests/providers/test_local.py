"""KEKs in a file or an environment variable."""

from pathlib import Path

import pytest

from sqlalchemy_cmk import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.testing.provider_contract import KekPlace, ProviderContract, words_of_failure
from tests.keys.processes import apart
from tests.providers.key_files import DEK, LocalPlace, secrets_of

VARIABLE = "CMK_TEST_LOCAL_KEKS"


class TestLocalKeyProvider(ProviderContract):
    @pytest.fixture
    def kek_place(self, tmp_path: Path) -> KekPlace:
        return LocalPlace(tmp_path / "keys.json")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def provider(path: Path) -> LocalKeyProvider:
    provider = LocalKeyProvider(path)
    provider.ensure("local:acme")
    return provider


@pytest.mark.parametrize("uri", ["acme", "", "local:", "https://acme.vault.azure.net/keys/clinic-kek"])
def test_a_uri_that_is_not_its_own_is_refused_with_the_form(provider: LocalKeyProvider, uri: str) -> None:
    with pytest.raises(ConfigurationError, match="local:NAME"):
        provider.wrap(uri, DEK)


@pytest.mark.parametrize("change", ["rotate", "disable", "enable"])
def test_a_kek_that_does_not_exist_cannot_be_changed(
    path: Path, provider: LocalKeyProvider, change: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="there is no KEK local:other"):
        getattr(provider, change)("local:other")
    assert path.read_bytes() == before


def test_an_environment_variable_serves_read_only(
    monkeypatch: pytest.MonkeyPatch, path: Path, provider: LocalKeyProvider
) -> None:
    wrapped = provider.wrap("local:acme", DEK)
    monkeypatch.setenv(VARIABLE, path.read_text())
    fixed = LocalKeyProvider.from_environment(VARIABLE)
    assert fixed.unwrap(wrapped) == DEK and provider.unwrap(fixed.wrap("local:acme", DEK)) == DEK
    for change in (fixed.rotate, fixed.disable, fixed.enable):
        with pytest.raises(ConfigurationError, match=f"{VARIABLE}.*cannot be changed"):
            change("local:acme")
    with pytest.raises(ConfigurationError, match="there is no KEK local:other"):
        fixed.ensure("local:other")
    with pytest.raises(KeyRevoked, match="local:other is gone"):
        fixed.wrap("local:other", DEK)
    assert secrets_of(path)[0] not in repr(fixed)


def test_an_environment_variable_is_read_at_each_use(
    monkeypatch: pytest.MonkeyPatch, path: Path, provider: LocalKeyProvider
) -> None:
    fixed = LocalKeyProvider.from_environment(VARIABLE)
    with pytest.raises(KeyUnavailable, match=f"{VARIABLE} is not set"):
        fixed.wrap("local:acme", DEK)
    monkeypatch.setenv(VARIABLE, path.read_text())
    wrapped = fixed.wrap("local:acme", DEK)
    provider.disable("local:acme")
    monkeypatch.setenv(VARIABLE, path.read_text())
    with pytest.raises(KeyRevoked, match=f"local:acme is disabled in .{VARIABLE}"):
        fixed.unwrap(wrapped)


@pytest.mark.parametrize("ending", ["}", "\udcff"], ids=["a brace too many", "bytes that are not text"])
def test_a_damaged_variable_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, path: Path, provider: LocalKeyProvider, ending: str
) -> None:
    monkeypatch.setenv(VARIABLE, path.read_text() + ending)
    fixed = LocalKeyProvider.from_environment(VARIABLE)
    assert secrets_of(path)[0] not in words_of_failure(lambda: fixed.wrap("local:acme", DEK))
    with pytest.raises(CmkError, match=f"{VARIABLE} is not a key file"):
        fixed.wrap("local:acme", DEK)


def disable(path: Path) -> None:
    LocalKeyProvider(path).disable("local:acme")


def test_a_kek_disabled_in_another_process_is_refused_here_at_once(
    path: Path, provider: LocalKeyProvider
) -> None:
    wrapped = provider.wrap("local:acme", DEK)
    apart(disable, path)
    with pytest.raises(KeyRevoked, match=f"local:acme is disabled in {path}"):
        provider.unwrap(wrapped)
    provider.enable("local:acme")
    assert provider.unwrap(wrapped) == DEK


def test_no_kek_is_shown(path: Path, provider: LocalKeyProvider) -> None:
    provider.rotate("local:acme")
    wrapped = provider.wrap("local:acme", DEK)
    shown = repr(provider) + words_of_failure(lambda: provider.wrap("local:other", DEK))
    path.chmod(0o644)
    shown += words_of_failure(lambda: provider.unwrap(wrapped))
    path.chmod(0o600)
    provider.disable("local:acme")
    shown += words_of_failure(lambda: provider.unwrap(wrapped))
    assert str(path) in shown
    assert not any(secret in shown for secret in secrets_of(path))
