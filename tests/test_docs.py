"""Every Python block of the documentation runs as it is printed, those of one page one after the other."""

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.hsm import PIN

ROOT = Path(__file__).parent.parent
TO_BE_TRIED = (
    "adopting",
    "backups",
    "byok",
    "choosing",
    "engines",
    "flask",
    "format",
    "how-to",
    "hsm",
    "key-tables",
    "migrations",
    "other-libraries",
    "rekeying",
    "scopes",
    "search-format",
    "tutorial",
)
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^([ \t]*)```python[^\n]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)

LINK = re.compile(r"\]\(([^)#\s]+)")


@dataclass
class Block:
    """A block and the line of its page on which its code begins."""

    page: Path
    line: int
    code: str

    def run(self, namespace: dict[str, Any]) -> None:
        # Line numbers of errors are those of the page.
        source = "\n" * (self.line - 1) + self.code
        exec(compile(source, str(self.page), "exec"), namespace)

    def __str__(self) -> str:
        return f"{self.page.name}, line {self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start(2)) + 1, textwrap.dedent(found[2]))
        for found in FENCED.finditer(text)
    ]


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The globals of a module that can be found by its name, as declarative models ask for."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield vars(module)
    for name, method in (("keyring", "close"), ("engine", "dispose")):
        getattr(vars(module).get(name), method, lambda: None)()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_in_order(
    page: Path, namespace: dict[str, Any], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.name == "hsm.md":
        request.getfixturevalue("softhsm")  # has a token "acme"
        monkeypatch.setenv("ACME_PIN", PIN)
    for block in blocks(page):
        try:
            block.run(namespace)
        except Exception as error:
            raise AssertionError(f"{block}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{page}.md" for page in TO_BE_TRIED)])
def test_a_page_that_is_meant_to_be_tried_has_blocks(name: str) -> None:
    assert blocks(ROOT / name) != []


def test_no_fence_of_a_page_is_left_unread() -> None:
    for page in PAGES:
        fences = re.findall(
            r"^[ \t]*[`~]{3,}[ \t]*py", page.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE
        )
        assert len(fences) == len(blocks(page)), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_whole_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE), "a merge was left unfinished"
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_architecture_names_files_that_there_are() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:\w+/)*\w+\.py\b", text))
    files = [f"/{file.relative_to(ROOT)}" for file in ROOT.glob("[a-z]*/**/*.py")]
    assert named and [name for name in named if not any(one.endswith(f"/{name}") for one in files)] == []


def test_the_architecture_lists_every_folder_and_every_file_beside_them() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    layout = text.partition("## Layout")[2].partition("\n## ")[0]
    listed = {line.split()[0] for line in layout.split("```")[1].strip().splitlines()}
    package = ROOT / "sqlalchemy_cmk"
    folders = {f"{one.parent.relative_to(package)}/" for one in package.glob("*/**/__init__.py")}
    assert listed == folders | {one.name for one in package.glob("*.py")}


def test_a_failing_block_is_named_by_its_page_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\none = 1\n```\n\n1. item\n\n   ```python\n   one\n   two\n   ```\n")
    first, second = blocks(page)
    assert [str(first), str(second)] == ["page.md, line 4", "page.md, line 10"]
    names: dict[str, Any] = {}
    first.run(names)
    with pytest.raises(NameError, match="two") as caught:
        second.run(names)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 11)
