"""Private names of other libraries stay in the files of HOMES, where each has a test that watches it.

A private name is a module's own if one of its classes defines it, and on ``self`` if any class of the package
does. Whatever else begins with an underscore belongs to somebody who may change it without notice. So do
names without one that are not documented; those that the library has met are listed.
"""

import ast
import importlib
from pathlib import Path
from typing import Any

import sqlalchemy_cmk

PACKAGE = Path(sqlalchemy_cmk.__file__).parent
# tests/databases/ and tests/rekey/test_workers.py watch what stands there.
HOMES = {
    *(
        f"databases/sqlalchemy_private/{name}.py"
        for name in ("identities", "mappers", "parameters", "queries", "rechecked", "results", "statements")
    ),
    "alembic/alembic_private.py",
    "rekey/clusters.py",
    "runtime/blocking.py",
}
# Not documented, or not with the meaning that the library gives it.
UNDOCUMENTED = {
    "BufferedRowCursorFetchStrategy",
    "CursorFetchStrategy",
    "FullyBufferedCursorFetchStrategy",
    "LRUCache",
    "ResultFetchStrategy",
    "await_only",
    "compiled_cache",
    "cursor_strategy",
    "in_greenlet",
    "inferred_target_elements",
    "load_options",
    "static_output",
    "update_values_to_set",
    "update_whereclause",
}
# Of the object that Alembic's operations keep in `impl`.
OF_IMPL = {"table_name", "schema", "static_output"}
WATCHED = ("sqlalchemy", "alembic", "flask")
BY_NAME = ("getattr", "hasattr", "setattr", "delattr", "attrgetter", "methodcaller")
# Begin with an underscore and are documented all the same.
PUBLIC = {"_logs", "_asdict", "_mapping", "_fields", "_replace", "_exit", "_name_", "_value_"}


class Names(ast.NodeVisitor):
    """The private names that a module defines for its own classes, and those that it uses on any object."""

    def __init__(self, path: Path) -> None:
        self.defined: dict[str, set[str]] = {}
        self.of_self: dict[str, int] = {}
        self.of_others: dict[str, int] = {}
        self.imports: set[str] = set()
        self._class = ""
        self.visit(ast.parse(path.read_text()))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._class = self._class, node.name
        for one in node.body:
            self._define(getattr(one, "name", ""))
            for target in getattr(one, "targets", [getattr(one, "target", None)]):
                self._define(getattr(target, "id", ""))
                if getattr(target, "id", "") == "__slots__":
                    for slot in ast.literal_eval(one.value):  # type: ignore[attr-defined]
                        self._define(slot)
        self.generic_visit(node)
        self._class = outer

    def visit_Attribute(self, node: ast.Attribute) -> None:
        mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if mine and isinstance(node.ctx, ast.Store):
            self._define(node.attr)
        self._use(self.of_self if mine else self.of_others, node.attr, node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in BY_NAME:
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    self._use(self.of_others, argument.value, node)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._import(node, [alias.name for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._import(node, [f"{node.module}.{alias.name}" for alias in node.names])

    def _import(self, node: ast.AST, paths: list[str]) -> None:
        for path in paths:
            package, *rest = path.split(".")
            self.imports.add(package)
            for name in rest if package != PACKAGE.name else ():
                self._use(self.of_others, name, node)

    def _define(self, name: str) -> None:
        if is_private(name):
            self.defined.setdefault(self._class, set()).add(name)

    def _use(self, uses: dict[str, int], name: str, node: Any) -> None:
        if is_private(name) and name not in PUBLIC:
            uses[name] = node.lineno


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def modules() -> dict[str, Names]:
    return {str(path.relative_to(PACKAGE)): Names(path) for path in sorted(PACKAGE.rglob("*.py"))}


def test_no_other_module_uses_a_private_name_that_is_not_its_own() -> None:
    names = modules()
    ours = set().union(*(own for one in names.values() for own in one.defined.values()))
    foreign = []
    for path, one in names.items():
        here = set().union(*one.defined.values())
        foreign += [f"{path}:{line} {name}" for name, line in one.of_others.items() if name not in here]
        foreign += [f"{path}:{line} self.{name}" for name, line in one.of_self.items() if name not in ours]
    assert [use for use in foreign if use.partition(":")[0] not in HOMES] == []


def undocumented(path: Path) -> set[str]:
    """The names of UNDOCUMENTED and OF_IMPL that a file uses as attributes, imports, or text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Attribute(attr="impl"), attr=name) if name in OF_IMPL:
                found.add(name)
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value="row"), *_]):
                found.add("row")  # of an argument of a log record
            case ast.Attribute(attr=name) | ast.alias(name=name) | ast.Constant(value=str(name)):
                found |= {name} & UNDOCUMENTED
    return found


def test_no_other_module_uses_a_name_that_is_not_documented() -> None:
    paths = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
    found = {(name, used) for name, path in paths.items() for used in undocumented(path)}
    assert {one for one in found if one[0] not in HOMES} == set()
    known = {name for home, name in found if home in HOMES}
    assert {"cursor_strategy", "in_greenlet", "row", "table_name", "update_values_to_set"} <= known


def test_private_names_are_found_where_they_are_known_to_be() -> None:
    assert {"_values", "_generate", "_ordered_values", "_refresh_state"} <= set(
        modules()["databases/sqlalchemy_private/statements.py"].of_others
    )


def test_no_class_of_ours_takes_a_private_name_of_its_base_in_another_library() -> None:
    checked = []
    for path, names in modules().items():
        if not names.imports.intersection(WATCHED):
            continue
        module = importlib.import_module(
            ".".join((PACKAGE.name, *Path(path).with_suffix("").parts)).removesuffix(".__init__")
        )
        for name, own in names.defined.items():
            kind = getattr(module, name, object)
            for base in kind.__mro__:
                if base.__module__.split(".")[0] in WATCHED:
                    checked.append(name)
                    assert own.isdisjoint({*vars(base), *vars(base).get("__annotations__", ())}), (name, base)
    assert {"EncryptedType", "OpeningFetch"} <= set(checked)
