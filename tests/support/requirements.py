"""What pyproject.toml requires, and from which version on.

`python -m tests.support.requirements` prints the versions installed here, and fails where one is not
the lowest that is allowed.
"""

import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
# What only this repository needs, in any version.
OURS = frozenset({"test", "lint", "bench", "recipes", "docs"})


class Requirements:
    """The requirements of a project for those who install it.

    Args:
        project: the table `project` of its pyproject.toml.
    """

    def __init__(self, project: Mapping[str, Any]) -> None:
        self.name = canonicalize_name(project["name"])
        self._dependencies = [Requirement(one) for one in project["dependencies"]]
        optional = project["optional-dependencies"]
        self._optional = {extra: [Requirement(one) for one in lines] for extra, lines in optional.items()}

    @property
    def extras(self) -> set[str]:
        """The extras for those who install the project."""
        return set(self._optional) - OURS

    def gathered(self, extra: str) -> set[str]:
        """Return which extras of the project itself an extra takes in."""
        return {part for one in self._optional[extra] if self._is_own(one) for part in one.extras}

    def lowest(self) -> dict[str, set[Version | None]]:
        """Return the lower bounds of each package, None among them where one has none."""
        bounds: dict[str, set[Version | None]] = {}
        for one in self._named():
            bounds.setdefault(canonicalize_name(one.name), set()).add(lower_bound(one))
        return bounds

    def _named(self) -> Iterator[Requirement]:
        yield from self._dependencies
        for extra in sorted(self.extras):
            yield from (one for one in self._optional[extra] if not self._is_own(one))

    def _is_own(self, requirement: Requirement) -> bool:
        return canonicalize_name(requirement.name) == self.name


def lower_bound(requirement: Requirement) -> Version | None:
    """Return the version from which on a requirement holds; that of `>=`, since no other names one."""
    found = [Version(one.version) for one in requirement.specifier if one.operator == ">="]
    return max(found, default=None)


def ours() -> Requirements:
    """Return the requirements of this project."""
    return Requirements(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])


def others_than_lowest(requirements: Requirements, installed: Callable[[str], str]) -> list[str]:
    """Return which packages are not installed in the lowest version that is allowed."""
    bounds = requirements.lowest()
    return sorted(name for name, found in bounds.items() if found != {Version(installed(name))})


def main() -> int:
    """Print a line for each package; return 1 where one is not the lowest."""
    wrong = others_than_lowest(ours(), version)
    for name in sorted(ours().lowest()):
        print(f"{name} {version(name)}{' is not the lowest' if name in wrong else ''}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
