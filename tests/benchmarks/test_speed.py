"""``python -m benchmarks`` runs, and measures what it has targets for."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import peers
from benchmarks.row_bound import BOUND
from benchmarks.tables import plain
from benchmarks.targets import TARGETS, judged

# A token would take as long as everything else.
NAMES = [name for name in program.BENCHMARKS if name != "hsm"]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program writes its figures."""
    path = tmp_path / "results.json"
    monkeypatch.setattr(program, "RESULTS", path)
    monkeypatch.setattr(program, "QUICK_ROUNDS", 1)
    return path


def test_every_target_is_measured(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other libraries are not installed with the tests.
    peer = peers.Contender(peers.peer("no_library", plain))
    monkeypatch.setattr(peers, "PEERS", {"no library": lambda: peer})
    missing = set() if BOUND else {"row-bound"}
    assert program.main([*NAMES, "--quick", "--rows", "5"]) == 0
    found = json.loads(results.read_text())["results"]
    assert list(found) == NAMES
    for name in NAMES:
        for figure, target in TARGETS[name].items():
            assert found[name][figure]["target"] == target
            assert (found[name][figure]["measured"] is None) == (name in missing)


def test_a_missed_target_fails_only_where_that_is_asked_for(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {figure: target + 1 for figure, target in TARGETS["one"].items()}
    monkeypatch.setitem(program.BENCHMARKS, "one", lambda database, count, rounds: figures)
    assert (program.main(["one"]), program.main(["one", "--strict"])) == (0, 1)
    assert capsys.readouterr().out.count("MISS") == 2


def test_a_figure_that_was_not_measured_misses_its_target() -> None:
    assert judged("a figure", None, 1.5).split()[-1] == "MISS"
    assert judged("a figure", 1.5, 1.5).split()[-1] == "PASS"
    assert judged("a figure", 1.5, None).split()[-1] == "1.50"
