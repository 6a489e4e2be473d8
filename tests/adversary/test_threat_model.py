"""Each line of the threat model names the tests that play it, and each test here is named by a line."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/threat-model.md"
HERE = "tests/adversary"
NAME = re.compile(r"`((?:tests/[\w/]+\.py::)?)(test_\w+)`")
LINE = re.compile(r"^\|(.+)\|(.+)\|(.+)\|$", re.MULTILINE)
SAYS = ("sees", "cannot", "can")


def names_in(path: Path) -> set[str]:
    """The names of a file's tests, also of those in classes."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)]
    tests = [name for name in found if name.startswith("test_")]
    assert len(tests) == len(set(tests)), path
    return set(tests)


def sections() -> dict[str, str]:
    """The sections that say which file plays their attacker, by that file."""
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    played = ((re.search(rf"\]\(\.\./({HERE}/\w+\.py)\)", part), part) for part in parts)
    return {found[1]: part for found, part in played if found}


def lines(section: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """What each line says the attacker sees, cannot or can, what that is, and the tests that it names."""
    rows = [tuple(cell.strip() for cell in row) for row in LINE.findall(section)]
    return [
        (says, what, NAME.findall(tests)) for says, what, tests in rows if says and not says.startswith("-")
    ]


def test_each_attacker_has_a_section() -> None:
    files = {f"{HERE}/{path.name}" for path in (ROOT / HERE).glob("test_*.py")}
    assert set(sections()) == files - {f"{HERE}/{Path(__file__).name}"}
    assert lines(PAGE.read_text(encoding="utf-8")) == [
        one for part in sections().values() for one in lines(part)
    ]


@pytest.mark.parametrize("file", sorted(sections()))
def test_each_line_names_tests_that_there_are_and_each_test_is_named(file: str) -> None:
    named = set()
    for says, what, tests in lines(sections()[file]):
        assert says in SAYS and what and tests, (says, what)
        for elsewhere, name in tests:
            where = elsewhere.removesuffix("::") or file
            assert name in names_in(ROOT / where), f"{where}::{name}"
            named.add((where, name))
    assert {(file, name) for name in names_in(ROOT / file)} - named == set()
