"""The tour in the terminal: it is told to its end, and each step says what it did."""

import io
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from examples.tour.__main__ import main
from examples.tour.story import CHAPTERS, NAMES


@pytest.fixture(autouse=True)
def quiet_library() -> Iterator[None]:
    """Let other tests of this process hear again what the library warns of: the tour does not."""
    logger = logging.getLogger("sqlalchemy_cmk")
    level = logger.level
    yield
    logger.setLevel(level)


def told(*arguments: str) -> str:
    screen = Console(file=io.StringIO(), width=200, highlight=False)
    main(list(arguments), screen)
    return screen.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_story_is_told_to_its_end() -> None:
    text = told()
    assert text.count(" ms ") == len(CHAPTERS)
    for said in (
        "local:pmk",
        "name = 01",
        "istartswith('lo'): Lovelace, Ada",
        "icontains('opper'): Hopper, Grace",
        "local:riverside-vault/clinic-kek wraps the DEKs now; 0 rows were touched",
        "5 rows went from DEK",
        "clinic-kek is fit: ",
        "values under the new DEK, 0 under old ones",
        "KeyLocked: ",
        "the trail has: unlock by security@riverside.example",
        "because: case 4711",
        "patients.name: 5",
        "KeyRevoked: ",
        f"read again: {'; '.join(NAMES)}",
        "Announced: revoked, local:riverside-vault/clinic-kek",
        "Announced: restored, local:riverside-vault/clinic-kek",
        "security@riverside.example asked to shred, keys@operations.example approved",
        "5 rows are still there",
    ):
        assert said in text, said


def test_it_waits_after_each_step_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(Console, "input", lambda _, words: waited.append(words) or "")
    told("--step")
    assert len(waited) == len(CHAPTERS)
