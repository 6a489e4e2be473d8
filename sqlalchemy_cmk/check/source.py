"""Source code that asks sealed columns what they cannot answer, found by Python's ``ast``.

It finds what it can see: uses of a model's attributes by the name of its class, and SQL text. What a
variable stands for it does not follow; a test suite under ``pytest --cmk-check`` sees what is executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.check.probing import refusal_of
from sqlalchemy_cmk.check.subjects import SUBJECTS, Subject
from sqlalchemy_cmk.columns.sql_text import is_statement, named_in, what_becomes_of_it
from sqlalchemy_cmk.runtime.kinds import several, takes
from sqlalchemy_cmk.runtime.places import Place

Models = dict[str, set[str]]

_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_CLAUSES = ("order_by", "group_by", "distinct")
_SQL_TEXT = ("text", "execute", "exec_driver_sql", "scalar", "scalars")
_UNREAD = ("node_modules", "site-packages", "__pycache__")


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """A line that asks a column what it could not answer once it is sealed.

    Attributes:
        place: where.
        message: the error that it would be, or what becomes of SQL text.
        index: the option that would answer it; ``None`` if none does.
    """

    place: Place
    message: str
    index: str | None = None


@takes(paths=several("a list of Path objects", Path), subjects=SUBJECTS)
def uses_in(paths: Iterable[Path], subjects: Sequence[Subject]) -> list[Use]:
    """Return what the Python files below some folders would be refused, by file and line."""
    trees = {file: tree for path in paths for file in _files(path) if (tree := _parsed(file)) is not None}
    models: Models = {}
    for name, table in chain(
        (found for tree in trees.values() for found in _models(tree)),
        ((name, one.table.name) for one in subjects for name in one.models),
    ):
        models.setdefault(name, set()).add(table)
    found = [use for file, tree in trees.items() for use in _Reader(file, tree, models, subjects).uses()]
    return sorted(set(found), key=lambda use: (use.place, use.message))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for one in sorted(path.iterdir()):
        if one.is_dir():
            if not (one.name.startswith(".") or one.name in _UNREAD or (one / "pyvenv.cfg").exists()):
                yield from _files(one)
        elif one.suffix == ".py":
            yield one


def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return None


def _models(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the classes that name their table, with its name."""
    for node in ast.walk(tree):
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
                targets = {one.id for one in line.targets if isinstance(one, ast.Name)}
                if "__tablename__" in targets:
                    yield node.name, str(line.value.value)  # type: ignore[attr-defined]


class _Reader:
    """Reads one file.

    Args:
        file: the file.
        tree: what it says.
        models: the names of classes' tables, by the classes' names.
        subjects: the columns.
    """

    def __init__(self, file: Path, tree: ast.Module, models: Models, subjects: Sequence[Subject]) -> None:
        self._file = str(file.resolve())
        self._tree = tree
        self._tables = models | _aliases(tree, models)
        self._subjects = subjects

    def uses(self) -> Iterator[Use]:
        """Yield what would be refused."""
        for node in ast.walk(self._tree):
            for statement in self._asked(node):
                error = refusal_of(statement)
                if error is not None:
                    yield self._use(node, str(error), error.index)
            for text in _sql_in(node):
                for one in named_in(text, [subject.sealed for subject in self._subjects]):
                    yield self._use(node, what_becomes_of_it(one))

    def _asked(self, node: ast.AST) -> Iterator[Any]:
        """Yield the queries that a line would build, with the real column."""
        if isinstance(node, ast.Call):
            yield from self._called(node)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS:
            yield from self._operated(type(node.ops[0]), node.left, node.comparators[0])
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            yield from self._operated(type(node.op), node.left, node.right)

    def _called(self, call: ast.Call) -> Iterator[Any]:
        if not isinstance(call.func, ast.Attribute):
            return
        name, on = call.func.attr, call.func.value
        if name == "filter_by":
            yield from self._compared(on, call.keywords)
        column = self._column(on)
        if column is not None:
            method = getattr(column, name, None)
            if callable(method):
                yield _tried(lambda: method(*map(_value, call.args)))
        columns = [one for argument in call.args if (one := self._column(argument)) is not None]
        for one in columns:
            if name in _CLAUSES:
                yield getattr(select(one), name)(one)
            elif isinstance(on, ast.Name) and on.id == "func":
                yield getattr(func, name)(one)

    def _compared(self, query: ast.expr, named: Sequence[ast.keyword]) -> Iterator[Any]:
        """Yield the comparisons of ``filter_by``, with the columns of all models that its query names."""
        names = {getattr(one, "id", getattr(one, "attr", "")) for one in ast.walk(query)}
        tables = {table for name in names for table in self._tables.get(name, ())}
        for one in named:
            column = self._of_tables(tables, one.arg)
            if column is not None:
                yield _tried(partial(operator.eq, column, _value(one.value)))

    def _operated(self, kind: type[ast.AST], left: ast.expr, right: ast.expr) -> Iterator[Any]:
        ours, theirs = self._column(left), self._column(right)
        if ours is not None:
            other = _value(right) if theirs is None else theirs
            yield _tried(lambda: _OPERATORS[kind](ours, other))
        elif theirs is not None:
            # Python asks the column, as no value on its left knows what to do with it.
            yield _tried(lambda: _OPERATORS[kind](_value(left, "?"), theirs))

    def _column(self, node: ast.expr) -> Any:
        """Return the sealed column that ``Model.column``, ``col()`` of it or ``table.c.column`` is."""
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "col" and len(node.args) == 1:
            node = node.args[0]
        if not isinstance(node, ast.Attribute):
            return None
        base = node.value
        if isinstance(base, ast.Attribute) and base.attr == "c":
            base = base.value
            tables = {base.id} if isinstance(base, ast.Name) else set()
        else:
            name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
            tables = self._tables.get(name, set())
        return self._of_tables(tables, node.attr)

    def _of_tables(self, tables: set[str], key: str | None) -> Any:
        found = (one for one in self._subjects if one.sealed.column.key == key)
        return next((one.sealed.column for one in found if one.table.name in tables), None)

    def _use(self, node: Any, message: str, index: str | None = None) -> Use:
        return Use(Place(self._file, node.lineno), message, index)


def _aliases(tree: ast.AST, models: Models) -> Models:
    """Return the variables that are ``aliased(Model)``, and names under which models are imported."""
    found: Models = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {one.asname: models[one.name] for one in node.names if one.asname and one.name in models}
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args:
            called, model = node.value.func, node.value.args[0]
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name == "aliased" and isinstance(model, ast.Name) and model.id in models:
                found |= {one.id: models[model.id] for one in node.targets if isinstance(one, ast.Name)}
    return found


def _sql_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        text = first.value if isinstance(first, ast.Constant) else None
        # Statements are found wherever they stand.
        if name in _SQL_TEXT and isinstance(text, str) and not is_statement(text):
            yield text
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and is_statement(node.value):
        yield node.value


def _value(node: ast.expr, unknown: Any = None) -> Any:
    """Return a literal's value; for what is known only when it runs a parameter, or what is given."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return (
            ["?"] if isinstance(node, ast.List | ast.Tuple | ast.ListComp) else unknown or bindparam("value")
        )


def _tried(build: Callable[[], Any]) -> Any:
    """Return an expression; ``None`` if SQLAlchemy does not build it from a stand-in value."""
    try:
        return build()
    except (SQLAlchemyError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None
