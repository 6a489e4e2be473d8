"""``pytest --cmk-check``: runs the tests with nothing sealed, and prints what sealing would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from sqlalchemy_cmk.keys.dry_run import DryRun, Refusal
from sqlalchemy_cmk.runtime.places import Place

NAME = "cmk-check"
_OUTPUT = "cmk_refusals"


class CheckPlugin:
    """Prints what a dry run has noted, by file and line; with pytest-xdist that of every worker.

    Args:
        dry_run: what every keyring of this process notes.
    """

    def __init__(self, dry_run: DryRun) -> None:
        self._dry_run = dry_run

    def pytest_report_header(self) -> str:
        """Say so in the header."""
        return "cmk check: DRY RUN, nothing is sealed, and columns hold plain text"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand on what a worker has noted."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = [_packed(one) for one in self._dry_run.refusals]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker has noted."""
        for packed in getattr(node, "workeroutput", {}).get(_OUTPUT, ()):
            self._dry_run.add(_unpacked(packed))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the list."""
        found = self._dry_run.refusals
        terminalreporter.section("cmk check: what sealing would refuse")
        for one in found:
            terminalreporter.write_line(str(one))
        places = len({one.place for one in found})
        terminalreporter.write_line(
            f"{len(found)} refusals in {places} places"
            if found
            else "nothing that these tests did would be refused"
        )


def _packed(refusal: Refusal) -> tuple[Any, ...]:
    place = refusal.place
    return place and (place.file, place.line), refusal.message, refusal.index


def _unpacked(packed: tuple[Any, ...]) -> Refusal:
    place, message, index = packed
    return Refusal(place and Place(*place), message, index)
