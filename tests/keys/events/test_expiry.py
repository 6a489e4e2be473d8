"""KEKs that expire: told ahead, once, and whatever a provider says of it."""

import time
from typing import Any

import pytest

from sqlalchemy_cmk import KeyEvent
from sqlalchemy_cmk.keys.events.expiry import DAY
from sqlalchemy_cmk.providers import KekExpiry
from tests.support.world import World


class Dated:
    """A world whose KEK expires when a test says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.says: Any = None
        self.heard: list[KeyEvent] = []
        world.provider.expiry_of = self._expiry_of  # type: ignore[method-assign]
        world.write("acme", "a note")
        world.keyring.assign("acme", "local:acme")

    def _expiry_of(self, kek_uri: str) -> Any:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says if kek_uri == "local:acme" else None

    def told(self, says: Any) -> list[tuple[str, str]]:
        """The events in the trail, once a rewrap has looked."""
        self.says = says
        self.world.keyring.lifecycle.rewrap()
        self.world.keyring.keys.background.flush()
        entries = self.world.keyring.audit.entries("acme")
        return [(one.event, one.kek_version) for one in entries if one.event.startswith("expir")]


@pytest.fixture
def dated(lite: World) -> Dated:
    return Dated(lite)


def test_each_version_is_told_at_each_threshold(dated: Dated) -> None:
    now = time.time()
    assert dated.told(KekExpiry("1", now + 31 * DAY)) == []
    assert dated.told(KekExpiry("1", now + 29 * DAY)) == [("expiring", "1")]
    assert dated.told(KekExpiry("1", now + 29 * DAY)) == [("expiring", "1")]
    assert dated.told(KekExpiry("2", now + 29 * DAY)) == [("expiring", "1"), ("expiring", "2")]
    assert dated.told(KekExpiry("2", now - 1))[2:] == [("expired", "2")]


def test_a_second_kek_that_expires_is_told_too(dated: Dated) -> None:
    dated.world.keyring.lifecycle.add_wrapping("acme", "local:second")
    dated.world.provider.expiry_of = lambda kek_uri: (  # type: ignore[method-assign]
        KekExpiry("1", time.time() + DAY / 2) if kek_uri == "local:second" else None
    )
    dated.world.keyring.lifecycle.rewrap()
    dated.world.keyring.keys.background.flush()
    (told,) = (one for one in dated.world.keyring.audit.entries() if one.event == "expiring")
    assert (told.tenant, told.kek_uri) == ("acme", "local:second")


def test_what_somebody_has_planted_in_the_trail_keeps_nothing_back(dated: Dated) -> None:
    at = time.time() + 5 * DAY
    assert len(dated.told(KekExpiry("1", at))) == 1
    dated.world.execute("UPDATE cmk_audit SET mac = 'planted' WHERE event = 'expiring'")
    dated.world.restart()
    dated.world.provider.expiry_of = dated._expiry_of  # type: ignore[method-assign]
    assert len(dated.told(KekExpiry("1", at))) == 2


@pytest.mark.parametrize(
    "says",
    [ValueError("SECRET"), 7.5, "tomorrow", KekExpiry("1", float("nan")), KekExpiry("1", 1e300)],
    ids=lambda one: type(one).__name__,
)
def test_a_provider_that_says_something_else_keeps_nobody_from_using_the_kek(dated: Dated, says: Any) -> None:
    assert dated.told(says) == []
    dated.world.write("acme", "a code, whose DEK is made now", table=dated.world.codes)
    assert dated.told(KekExpiry("1", -1e300)) == [("expired", "1")]
