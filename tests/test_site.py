"""The documentation site builds without a warning, and has what its readers look for."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import sqlalchemy_cmk

ROOT = Path(__file__).parents[1]
PUBLIC = (
    "",
    ".search",
    ".keys",
    ".providers",
    ".alembic",
    ".rekey",
    ".doctor",
    ".check",
    ".impact",
    ".certificates",
    ".offboarding",
    ".dbapi",
    ".eventgrid",
    ".flask",
    ".testing",
)
TASKS = (
    "Rotate a KEK",
    "Rotate a DEK",
    "Add a region",
    "Onboard a tenant",
    "Offboard a tenant",
    "A customer's key in another directory",
    "Test revocation with pytest",
    "Back up and restore",
    "Recover from a disaster",
    "Use it with asyncio",
    "Run it under gunicorn, uWSGI or Celery",
    "Use several databases or schemas",
    "Tune it",
    "Upgrade the library",
    "Raise alarms",
    "A customer says: we have revoked our key",
    "A DEK has leaked",
    "The record key has leaked",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def public_names() -> Iterator[str]:
    for suffix in PUBLIC:
        module = import_module(f"sqlalchemy_cmk{suffix}")
        elsewhere = set(sqlalchemy_cmk.__all__) if suffix else set()
        yield from (f"{module.__name__}.{name}" for name in module.__all__ if name not in elsewhere)


def test_it_builds_and_every_public_name_is_in_its_reference(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    with open(site / "objects.inv", "rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    known = {name for kind, named in inventory.items() if kind.startswith("py:") for name in named}
    assert [name for name in public_names() if name not in known] == []


def test_each_task_is_two_clicks_from_the_first_page(site: Path) -> None:
    assert 'href="how-to.html"' in (site / "index.html").read_text()
    guides = (ROOT / "docs/how-to.md").read_text()
    assert [task for task in TASKS if f"\n## {task}\n" not in guides] == []
