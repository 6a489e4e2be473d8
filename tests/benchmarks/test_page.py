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

from benchmarks.capacity import CachePolicy, Case, Prices, share_used
from benchmarks.capacity.__main__ import FIGURE, main
from benchmarks.capacity.limits import MANAGED_HSM_SCALING, SERVICE_LIMITS, THROTTLING
from benchmarks.capacity.model import DEFAULT_TIMES
from benchmarks.capacity.report import APART, LAYOUTS, OUTAGES, of
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


def heads(text: str) -> set[str]:
    """The first cells of a text's tables."""
    return {table.split("|")[1].strip() for table in TABLE.findall(text)}


def test_the_program_prints_the_tables_of_the_page_and_draws_its_figure(printed: Printed) -> None:
    assert len(heads(printed.text)) == 6 and heads(printed.text) <= heads(PAGE)
    root = ElementTree.fromstring(printed.figure)
    assert root.tag.endswith("svg") and len(list(root.iter())) > 500
    # matplotlib writes a figure's texts as comments beside their outlines.
    texts = re.findall(r"<!--(.*?)-->", printed.figure.decode(), re.DOTALL)
    for jitter in ("0", "0.1", "0.5"):
        assert any(f"revalidation_jitter {jitter}:" in text for text in texts)
    assert "(capacity.svg)" in PAGE


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
        CachePolicy(
            defaults["revalidate_after"],
            defaults["outage_grace"],
            defaults["retry_after"],
            defaults["revalidation_jitter"],
            refresh_ahead=False,
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


def test_processes_that_start_apart_do_not_meet() -> None:
    run = deploy(of("own"), apart=APART, seconds=200)
    assert run.peak() == of("own").all_deks
    assert set(LAYOUTS) == {"own", "shared", "vaults"}
