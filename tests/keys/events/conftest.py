"""Receivers of webhooks."""

from collections.abc import Iterator

import pytest

from tests.support.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again at once."""
    monkeypatch.setattr("sqlalchemy_cmk.keys.events.sender.FIRST_DELAY", 0.05)
    monkeypatch.setattr("sqlalchemy_cmk.keys.events.sender.LONGEST_DELAY", 0.05)
