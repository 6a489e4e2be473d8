"""docs/capacity.md says what the model and the simulation give, and its figure shows it."""

import re
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from inspect import signature
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.capacity import Case, Prices, Times, share_used
from benchmarks.capacity.__main__ import FIGURE, main
from benchmarks.capacity.limits import MANAGED_HSM_SCALING, SERVICE_LIMITS, THROTTLING
from benchmarks.capacity.model import DEFAULT_TIMES
from benchmarks.capacity.plot import plot
from benchmarks.capacity.report import APART, LAYOUTS, OUTAGES, Runs, of
from benchmarks.capacity.scenarios import deploy, outage
from sqlalchemy_cmk import Keyring

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)


@dataclass
class Printed:
    """What `python -m benchmarks.capacity` gave."""

    text: str
    figure: bytes


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    folder = tmp_path_factory.mktemp("page")
    (folder / FIGURE).parent.mkdir()
    stream = StringIO()
    with chdir(folder), redirect_stdout(stream):
        main()
        yield Printed(stream.getvalue(), FIGURE.read_bytes())


def tables(text: str) -> dict[str, list[list[str]]]:
    """The tables of a text by their head's first cell: rows of cells."""
    found = {}
    for table in TABLE.findall(text):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        found[rows[0][0]] = rows[:1] + rows[2:]
    return found


def test_the_tables_of_the_page_are_those_that_the_program_prints(printed: Printed) -> None:
    ours = tables(printed.text)
    assert len(ours) == 5
    theirs = tables(PAGE)
    for name, rows in ours.items():
        assert theirs[name] == rows


def test_the_simulation_gives_the_same_figures_each_time() -> None:
    assert deploy(of("own"), seconds=700) == deploy(of("own"), seconds=700)
    assert outage(of("shared", processes=2), OUTAGES[0]) == outage(of("shared", processes=2), OUTAGES[0])


def test_the_page_names_every_other_figure_as_it_is() -> None:
    case = Case()
    assert (case.processes, case.tenants, case.deks) == (8, 1000, 1)
    assert f"8 processes make {of('vaults', tenants=1).steady():.2f} transactions there" in PAGE
    assert f"RSA-HSM 4096 for more than {of('own', kind='RSA-HSM 4096').most_tenants()} tenants" in PAGE
    assert share_used({"RSA-HSM 4096": 248, "RSA-HSM 2048": 16}) == pytest.approx(1)
    assert of("own", 0.5).steady() / of("own", 0).steady() == pytest.approx(4 / 3)
    assert Prices().per_10_000 == 0.03 and Prices().hsm_key_month is None
    assert Case(deks=2).all_deks == 2000


def test_the_page_names_the_defaults_of_a_keyring() -> None:
    defaults = {name: one.default for name, one in signature(Keyring).parameters.items()}
    for name in ("revalidate_after", "revalidation_jitter", "max_open_keys", "outage_grace", "retry_after"):
        assert f"**`{name}`** ({defaults[name]})" in PAGE
    assert (
        Times(
            defaults["revalidate_after"],
            defaults["outage_grace"],
            defaults["retry_after"],
            defaults["revalidation_jitter"],
        )
        == DEFAULT_TIMES
    )


def test_the_block_of_the_page_prints_what_stands_below_it() -> None:
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    stream = StringIO()
    with redirect_stdout(stream):
        exec(found[1], {})
    assert stream.getvalue() == found[2]


def test_the_page_links_its_sources() -> None:
    for address in (SERVICE_LIMITS, THROTTLING, MANAGED_HSM_SCALING):
        assert f"({address})" in PAGE


def captions(figure: bytes) -> list[str]:
    """The texts of a figure, which matplotlib writes as comments beside their outlines."""
    return [found.strip() for found in re.findall(r"<!--(.*?)-->", figure.decode(), re.DOTALL)]


def test_the_figure_is_drawn_and_shows_limits_and_peaks(printed: Printed) -> None:
    root = ElementTree.fromstring(printed.figure)
    assert root.tag.endswith("svg") and len(list(root.iter())) > 500
    texts = "\n".join(captions(printed.figure))
    for expected in ("revalidation_jitter 0:", "revalidation_jitter 0.1:", "revalidation_jitter 0.5:"):
        assert expected in texts
    assert "RSA 2048" in texts and "transactions in ten seconds" in texts


def test_the_figure_of_the_page_is_of_these_runs(printed: Printed) -> None:
    assert "(capacity.svg)" in PAGE
    assert captions((ROOT / FIGURE).read_bytes()) == captions(printed.figure)


def test_the_figure_is_the_same_for_the_same_runs(tmp_path: Path) -> None:
    small = {"processes": 2, "tenants": 50}
    case, other = of("own", **small), of("own", 0.5, **small)
    runs = Runs(
        {("own", 0, 0.0): deploy(case), ("own", 0.1, 0.0): deploy(case), ("own", 0.5, 0.0): deploy(other)},
        {},
        {},
        {("own", 60): outage(case, 60)},
    )
    plot(runs, tmp_path / "one.svg")
    plot(runs, tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_processes_that_start_apart_do_not_meet() -> None:
    run = deploy(of("own"), apart=APART, seconds=200)
    assert run.peak() == of("own").all_deks
    assert set(LAYOUTS) == {"own", "shared", "vaults"}
