"""The benchmark of search indexes runs, on a small table, and both twins give as many rows."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from benchmarks.search import __main__ as search
from benchmarks.search.__main__ import measured
from tests.support.databases import Database


def test_every_question_and_every_index_has_a_figure(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WRITTEN", 50)
    monkeypatch.setattr(search, "BUILT", 50)
    kind = make_url(database.url).get_backend_name().replace("mysql", "mariadb")
    figures = {one.work: one.measured for one in measured(database.url, kind, tmp_path, 3000, 1)}
    assert len(figures) >= 10
    assert all(value > 0 for value in figures.values())
