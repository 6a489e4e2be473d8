"""The rule that every module of the library that sends statements does so with an older SQLAlchemy too."""

import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import sqlalchemy_cmk
from tests.support.passes import NEWEST_ONLY

LIBRARY = str(Path(sqlalchemy_cmk.__file__).parent)
KEY = "cmk-senders"


class Senders:
    """A pytest plugin that fails a run where only tests of the newest pass let a module send statements.

    A statement's sender is the innermost module of the library that has called SQLAlchemy.
    """

    def __init__(self) -> None:
        self.both: set[str] = set()
        self.newest: set[str] = set()
        self._current = self.both

    @property
    def left_out(self) -> list[str]:
        """The modules that no test of both passes lets send a statement."""
        return sorted(self.newest - self.both)

    def _note(self, *arguments: Any) -> None:
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(LIBRARY):
            frame = frame.f_back
        if frame is not None:
            self._current.add(frame.f_code.co_filename.removeprefix(LIBRARY + "/"))

    def pytest_sessionstart(self) -> None:
        """Begin to watch."""
        event.listen(Engine, "before_cursor_execute", self._note)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note what the test sends, its fixtures included."""
        self._current = self.newest if item.get_closest_marker(NEWEST_ONLY) else self.both

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker of pytest-xdist has noted."""
        both, newest = getattr(node, "workeroutput", {}).get(KEY, ((), ()))
        self.both |= set(both)
        self.newest |= set(newest)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the notes on to the controller; there, turn the status of a run that would pass."""
        event.remove(Engine, "before_cursor_execute", self._note)
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[KEY] = (sorted(self.both), sorted(self.newest))
        elif self.left_out and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the modules."""
        if self.left_out:
            terminalreporter.section("send statements with the newest SQLAlchemy only", red=True)
            terminalreporter.line("take a test of each off OTHER_SUBJECTS in tests/support/passes.py:")
            for module in self.left_out:
                terminalreporter.line(module)
