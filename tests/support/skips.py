"""The rule that no test may be skipped when CMK_TEST_REQUIRE_ALL=1 is in the environment."""

import os
from typing import NoReturn

import pytest

VARIABLE = "CMK_TEST_REQUIRE_ALL"


def all_required() -> bool:
    """Whether every test has to run."""
    return os.environ.get(VARIABLE) == "1"


def unavailable(reason: str) -> NoReturn:
    """Skip the running test for this reason, or fail it where every test has to run."""
    if all_required():
        pytest.fail(f"{reason} ({VARIABLE}=1 forbids skipping)", pytrace=False)
    pytest.skip(reason)


class NoSkips:
    """A pytest plugin that fails a run in which a test or a whole module was skipped, and names them."""

    def __init__(self) -> None:
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skipped test; an expected failure is not one."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that skipped itself."""
        if report.skipped:
            self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn the status of a run that would pass into a failure."""
        if self.skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests were skipped, and that this fails the run."""
        if not self.skipped:
            return
        terminalreporter.section(f"skipped, which {VARIABLE}=1 forbids", red=True)
        for node, reason in self.skipped.items():
            terminalreporter.line(f"{node}: {reason}")

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        self.skipped[report.nodeid] = str(reason)
