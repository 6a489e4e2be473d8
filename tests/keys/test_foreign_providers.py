"""A provider of somebody else's: what it raises by mistake is an outage, told without what it knows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine

from sqlalchemy_cmk import ConfigurationError, Keyring, KeyUnavailable
from sqlalchemy_cmk.doctor import check_keys
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.testing.provider_contract import spellings, words_of_failure
from tests.support.providers import CountingProvider


class StrangeProvider(CountingProvider):
    """Fails as nobody has told it to: by an error of its own, which quotes the DEK, or by a wrong answer."""

    def fail(self, *_: Any, **__: Any) -> Any:
        raise PermissionError(f"the token has no right to {max(self.deks, default=b'').hex()}")


@pytest.fixture
def provider(tmp_path: Path) -> StrangeProvider:
    return StrangeProvider(tmp_path / "keys.json")


@pytest.fixture
def keyring(provider: StrangeProvider, tmp_path: Path) -> Iterator[Keyring]:
    engine = create_engine(f"sqlite:///{tmp_path}/keys.db")
    tables = MetaData()
    with Keyring(engine, platform_key="local:pmk", providers=[provider]) as keyring:
        keyring.protect(tables)
        tables.create_all(engine)
        yield keyring
    engine.dispose()


USES: dict[str, Callable[[Keyring], object]] = {
    "wrap": lambda keyring: keyring.warm(["acme"], new=True),
    "unwrap": lambda keyring: keyring.warm(["acme"], new=True),
    "handles": lambda keyring: keyring.warm(["acme"], new=True),
    "place_of": lambda keyring: keyring.warm(["acme"], new=True),
    "for_tenant": lambda keyring: keyring.warm(["acme"], new=True),
    "ensure": lambda keyring: keyring.assign("acme", "local:acme"),
    "check": lambda keyring: keyring.assign("acme", "local:acme"),
}


@pytest.mark.parametrize("method", USES)
def test_its_own_error_is_an_outage_that_names_it(
    keyring: Keyring, provider: StrangeProvider, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(provider, method, provider.fail)
    told = r"StrangeProvider failed with PermissionError \(test_foreign_providers.py, line \d+\)"
    with pytest.raises(KeyUnavailable, match=told):
        USES[method](keyring)


def test_what_its_error_says_is_told_to_nobody(
    keyring: Keyring, provider: StrangeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "unwrap", provider.fail)
    shown = words_of_failure(lambda: keyring.warm(["acme"], new=True))
    assert provider.deks and "PermissionError" in shown
    assert not any(one in shown for dek in provider.deks for one in spellings(dek))


@pytest.mark.parametrize(
    ("method", "kind"), [("wrap", "Wrapped"), ("unwrap", "Secret")], ids=["wrap", "unwrap"]
)
def test_an_answer_of_another_type_is_told_with_the_right_one(
    keyring: Keyring, provider: StrangeProvider, monkeypatch: pytest.MonkeyPatch, method: str, kind: str
) -> None:
    monkeypatch.setattr(provider, method, lambda *_: bytes(32))
    with pytest.raises(ConfigurationError, match=rf"StrangeProvider.{method}\(\) returned bytes.*{kind}\("):
        keyring.warm(["acme"], new=True)


def test_an_examination_reports_it_and_never_raises(
    keyring: Keyring, provider: StrangeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.warm(["acme"], new=True)
    monkeypatch.setattr(provider, "health_checks", provider.fail)
    problems = [one.what for one in check_keys(keyring) if one.level is Level.PROBLEM]
    assert any("StrangeProvider failed with PermissionError" in one for one in problems)


def test_a_rewrap_wraps_every_dek_where_the_provider_cannot_tell_the_newest_version(
    keyring: Keyring, provider: StrangeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.warm(["acme"], new=True)
    assert keyring.lifecycle.rewrap("acme").rewrapped == 0
    monkeypatch.setattr(provider, "newest_version", lambda kek_uri: None)
    assert keyring.lifecycle.rewrap("acme").rewrapped > 0
    assert {use.newest for use in keyring.kek_uses(["acme"])} == {None}
