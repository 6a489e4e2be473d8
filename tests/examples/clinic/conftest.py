"""The clinic over a copy of a data folder that was filled once, and browsers of its staff."""

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import make_url

from examples.clinic import seed
from tests.examples.clinic.browsing import Clinic
from tests.support.databases import Database

FEW = {"riverside": 9, "hillside": 7, "lakeside": 3}


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few patients; with all of them for pictures."""
    folder = tmp_path_factory.mktemp("clinic")
    with nullcontext() if os.environ.get("CLINIC_PICTURES") else few_patients():
        Clinic(folder).close()
    return folder


@pytest.fixture
def clinic(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    """The clinic as it is at its first start."""
    monkeypatch.delenv("CLINIC_HSM", raising=False)
    shutil.copytree(filled, tmp_path / "data")
    opened = Clinic(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def clinic_on_server(database: Database, tmp_path: Path) -> Iterator[Clinic]:
    """The clinic on an empty database of a server."""
    with few_patients():
        opened = Clinic(tmp_path / "data", make_url(database.url))
    yield opened
    opened.close()


class few_patients:
    """Lets the seed make few patients."""

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(seed, "PATIENTS", FEW)
        self._patch.setattr(seed, "APPOINTMENTS", 2)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
