"""Fixtures that every test may use: empty databases of each kind, and tokens of five PKCS#11 modules."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.databases import Database, Servers, server_database, sqlite_file
from tests.support.drivers import by_drivers, repeats, sets_of
from tests.support.hsm.fixtures import nss, opencryptoki, p11_kit, softhsm, tpm
from tests.support.memory import folder_in_memory
from tests.support.passes import Passes
from tests.support.servers import ServerNotInstalled
from tests.support.skips import NoSkips, all_required, unavailable

__all__ = ["nss", "opencryptoki", "p11_kit", "softhsm", "tpm"]


def pytest_configure(config: pytest.Config) -> None:
    """Choose where tests write; watch what they use and, in pytest-xdist's controller, which do not run."""
    config.pluginmanager.register(Passes(config), "cmk-passes")
    # How long an example takes says how busy the machine is.
    hypothesis.settings.register_profile("cmk", deadline=None)
    hypothesis.settings.load_profile("cmk")
    if hasattr(config, "workerinput"):
        return
    if folder := folder_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))
    # A shell ignores it for what runs in its background, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if all_required():
        config.pluginmanager.register(NoSkips(), "cmk-no-skips")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests of migrations and re-keying by each set of drivers of this pass."""
    if "drivers" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("drivers")
        sets = list(only.args) if only else sets_of(metafunc.definition.path)
        metafunc.parametrize("drivers", sets, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what other drivers would do again."""
    items[:] = [item for item in items if not repeats(item)]


def pytest_collection_finish() -> None:
    """Spare the tests full collections of garbage over all that is imported: a third of their CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The database servers of this session, each started when a test first asks for it."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Database:
    """An empty SQLite database in a file."""
    return sqlite_file(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of each kind in turn."""
    yield from empty_database(request)


@pytest.fixture(params=["sqlite", "postgresql"])
def async_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of each kind that has an asynchronous driver, in turn."""
    yield from empty_database(request)


@pytest.fixture
def drivers(request: pytest.FixtureRequest) -> Iterator[None]:
    """The drivers of the test's keyrings and migrations."""
    with by_drivers(request.param):
        yield


def empty_database(request: pytest.FixtureRequest, kind: str | None = None) -> Iterator[Database]:
    """The empty database of a kind, or of that which the fixture's parameter names."""
    kind = kind or request.param
    if kind == "sqlite":
        yield sqlite_file(request.getfixturevalue("tmp_path"))
        return
    with server_database(kind, server_url(request, kind)) as made:
        yield made


def server_url(request: pytest.FixtureRequest, kind: str | None = None) -> str:
    """The URL of a server, or of that which the parameter names; without it the test is skipped or fails."""
    try:
        return request.getfixturevalue("servers").url(kind or request.param)
    except ServerNotInstalled as error:
        reason = str(error)
    unavailable(reason)
