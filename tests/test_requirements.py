"""What the project requires is stated once, with the lowest version that its tests passed with."""

import ast
import sys
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.version import Version

import sqlalchemy_cmk
from tests.support.requirements import Requirements, others_than_lowest, ours

PACKAGE = Path(sqlalchemy_cmk.__file__).parent
# Our pytest plugin is loaded by pytest alone; of the drivers the application has its own.
ELSEWHERE = {*sys.stdlib_module_names, "sqlalchemy_cmk", "pytest", "asyncpg", "psycopg"}


def imported() -> set[str]:
    """The modules of others that the library imports anywhere."""
    names = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(one.name for one in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "opentelemetry":
                # A folder of several packages, with no file of its own.
                names.update(f"opentelemetry.{one.name}" for one in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    return {name for name in names if name.partition(".")[0] not in ELSEWHERE}


def project(*dependencies: str, **extras: list[str]) -> Requirements:
    return Requirements(
        {"name": "A.Project", "dependencies": dependencies, "optional-dependencies": {"test": [], **extras}}
    )


def test_every_dependency_has_one_lower_bound_wherever_it_is_named() -> None:
    bounds = ours().lowest()
    assert {"sqlalchemy", "cryptography", "azure-identity", "rich"} <= set(bounds)
    assert {name: found for name, found in bounds.items() if None in found or len(found) != 1} == {}


def test_the_key_vault_sdk_is_one_that_refuses_other_hosts() -> None:
    (bound,) = ours().lowest()["azure-keyvault-keys"]
    assert bound is not None and bound >= Version("4.11.3")


def test_all_takes_in_every_extra_but_the_examples() -> None:
    requirements = ours()
    assert requirements.gathered("all") == requirements.extras - {"all", "demo"}
    assert "all" in requirements.gathered("test")


def test_what_the_library_imports_is_required() -> None:
    required = map(distribution, ours().lowest())
    files = {Path(str(file.locate())).resolve() for one in required for file in one.files or ()}
    modules = imported()
    assert {"msgspec", "azure.core.exceptions"} <= modules
    places = {name: Path(str(import_module(name).__file__)).resolve() for name in modules}
    assert [name for name, place in places.items() if place not in files] == []


@pytest.mark.parametrize("line", ["one", "one<2", "one!=1.5", "one>1"])
def test_a_dependency_without_a_lower_bound_is_noticed(line: str) -> None:
    assert project(line).lowest() == {"one": {None}}
    assert project(web=[line]).lowest() == {"one": {None}}


def test_two_bounds_of_one_package_are_noticed() -> None:
    bounds = project("Some_Package>=1", web=["some.package[fast]>=2,<3", "a-project[other]"]).lowest()
    assert bounds == {"some-package": {Version("1"), Version("2")}}


def test_what_tests_alone_need_may_be_of_any_version() -> None:
    assert project(test=["one"], lint=["two"], bench=["three"]).lowest() == {}


def test_a_newer_version_than_the_lowest_is_noticed() -> None:
    installed = {"one": "1.0", "two": "2.1"}
    assert others_than_lowest(project("one>=1", web=["two>=2"]), installed.__getitem__) == ["two"]
