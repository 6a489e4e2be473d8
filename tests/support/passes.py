"""The two passes of the tests: with the newest SQLAlchemy all, with an older one those about SQLAlchemy.

The older pass asks whether the library does the same on an older SQLAlchemy. Two kinds of tests say nothing
of that, and it leaves them out by their markers (Makefile):

- `no_sqlalchemy`: never connects through SQLAlchemy. One that does fails.
- `newest_sqlalchemy`: uses SQLAlchemy, but is about something else, which OTHER_SUBJECTS names.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, event

from tests.support.skips import VARIABLE, all_required

TESTS = Path(__file__).parents[1]
NO_SQLALCHEMY = "no_sqlalchemy"
NEWEST_ONLY = "newest_sqlalchemy"
FOLDERS = ("providers", "testing")
MODULES = ("benchmarks/test_capacity.py", "benchmarks/test_fleet.py", "benchmarks/test_page.py")
EXCEPT = ("providers/test_key_file.py",)
OTHER_SUBJECTS = {
    "bytes and types, which test-lowest runs with the oldest SQLAlchemy": ("unit",),
    "processes that are killed, and many that work at once": (
        "alembic/test_crashes.py",
        "drill",
        "examples/test_prefork.py",
        "keys/test_load.py",
        "keys/test_making.py",
        "keys/test_many_changes.py",
        "keys/test_side_by_side.py",
        "keys/test_turns.py",
        "rekey/test_concurrency.py",
        "rekey/test_kill.py",
        "rekey/test_workers.py",
    ),
    "interleavings, which the scheduler of the simulation chooses": (
        "simulation/test_old_faults.py",
        "simulation/test_postgresql.py",
    ),
    "speed": ("benchmarks",),
    "what one application tells another": ("eventgrid", "keys/events/test_posting.py", "story"),
    "the documentation's own tool": ("test_site.py",),
    "web frameworks in their newest releases": (
        "recipes",
        "examples/clinic",
        "examples/test_tour.py",
        *(f"flask/test_{name}.py" for name in ("commands", "configuration", "problems", "requests")),
        "flask/test_served.py",
        "flask/test_states.py",
    ),
    "vaults and tokens, and what is kept of their keys in memory": (
        "keys/test_azure_life.py",
        "keys/test_both_logs.py",
        "keys/test_grace.py",
        "keys/test_hung_vaults.py",
        "keys/test_leaving_memory.py",
        "keys/test_outages.py",
        "keys/test_refresh_ahead.py",
        "keys/test_single_flight.py",
        "keys/test_tenant_life.py",
    ),
    "what the record key and the audit trail prove": (
        "keys/test_audit_attacks.py",
        "keys/test_key_tables.py",
        "keys/test_record_key.py",
    ),
    "attackers": (
        "adversary",
        "alembic/test_planted.py",
        "faults/test_crash_reports.py",
        "faults/test_damaged_keys.py",
    ),
    "an example's history, of operations that `tests/alembic` runs in both passes": (
        "examples/test_migrations.py",
    ),
    "a database's catalogue, locks and limits": (
        "alembic/catalogue",
        "alembic/matrix",
        "alembic/test_beforehand.py",
        "alembic/test_changed_values.py",
        "alembic/test_every_row.py",
        "alembic/test_full_disk.py",
        "alembic/test_large_values.py",
        "alembic/test_sqlite_declaration.py",
        "alembic/test_swap.py",
        "alembic/test_underway.py",
        "rekey/test_every_row.py",
        "rekey/test_full_disk.py",
        "rekey/test_large_values.py",
        "rekey/test_scrub.py",
        "rekey/test_searching.py",
    ),
    "what the command prints and asks": tuple(
        f"cli/test_{name}.py"
        for name in (
            *("audit", "byok", "changes", "command", "doctor", "dropping", "escapes", "hsm", "loading"),
            *("mistyped", "rekey", "shred", "status", "vault"),
        )
    ),
}
NEWEST = (2, 1)


class Passes:
    """A pytest plugin that marks what the older pass leaves out, and fails it where its marker is wrong."""

    def __init__(self, config: pytest.Config) -> None:
        self.connected = False
        if newest() and all_required() and "sqlalchemy" in config.option.markexpr:
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
                item.add_marker(NO_SQLALCHEMY)
            elif other_subject(item.path):
                item.add_marker(NEWEST_ONLY)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin to watch, before the fixtures are made."""
        self.connected = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a marked test that has connected."""
        yield
        if self.connected and item.get_closest_marker(NO_SQLALCHEMY):
            pytest.fail(f"{item.nodeid} uses SQLAlchemy: take it off the list in tests/support/passes.py")


def newest() -> bool:
    """Whether this is the pass with the newest SQLAlchemy, which leaves nothing out."""
    return tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= NEWEST


def without_sqlalchemy(module: Path) -> bool:
    """Return whether the tests of a module never use SQLAlchemy."""
    path = _under_tests(module)
    return path not in EXCEPT and (path in MODULES or path.split("/")[0] in FOLDERS)


def other_subject(module: Path) -> str | None:
    """Return what the tests of a module are about, where that is not SQLAlchemy's behaviour."""
    path = _under_tests(module)
    return next(
        (
            subject
            for subject, places in OTHER_SUBJECTS.items()
            if any(path == place or path.startswith(f"{place}/") for place in places)
        ),
        None,
    )


def _under_tests(module: Path) -> str:
    return module.relative_to(TESTS).as_posix() if module.is_relative_to(TESTS) else ""
