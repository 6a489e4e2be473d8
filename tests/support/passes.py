"""The two passes of the tests: with the newest SQLAlchemy all of them, with an older one those that use it.

Tests of these folders and modules carry the marker `no_sqlalchemy`, and the second pass leaves them out by
`-m "not no_sqlalchemy"` (Makefile). One that connects to a database through SQLAlchemy fails, so that the
list stays true.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, event

from tests.support.skips import VARIABLE, all_required

TESTS = Path(__file__).parents[1]
MARKER = "no_sqlalchemy"
FOLDERS = ("providers", "testing")
MODULES = ("benchmarks/test_capacity.py", "benchmarks/test_page.py")
EXCEPT = ("providers/test_key_file.py",)
NEWEST = (2, 1)


class Passes:
    """A pytest plugin that marks the tests without SQLAlchemy, and fails those that use it all the same."""

    def __init__(self, config: pytest.Config) -> None:
        self.connected = False
        newest = tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= NEWEST
        if newest and all_required() and MARKER in config.option.markexpr:
            raise pytest.UsageError(f"{VARIABLE}=1: the pass with the newest SQLAlchemy leaves nothing out")
        event.listen(Engine, "engine_connect", self._note)

    def _note(self, connection: sqlalchemy.Connection) -> None:
        # In other threads the keyring of an earlier test may still write what waits for its audit trail.
        self.connected |= threading.current_thread() is threading.main_thread()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark the tests before pytest selects by marker."""
        for item in items:
            if without_sqlalchemy(item.path):
                item.add_marker(MARKER)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin to watch, before the fixtures are made."""
        self.connected = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a marked test that has connected."""
        yield
        if self.connected and item.get_closest_marker(MARKER):
            pytest.fail(f"{item.nodeid} uses SQLAlchemy: take it off the list in tests/support/passes.py")


def without_sqlalchemy(module: Path) -> bool:
    """Return whether the tests of a module never use SQLAlchemy."""
    path = module.relative_to(TESTS).as_posix() if module.is_relative_to(TESTS) else ""
    return path not in EXCEPT and (path in MODULES or path.split("/")[0] in FOLDERS)
