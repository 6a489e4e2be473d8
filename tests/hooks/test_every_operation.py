"""Every element and operator that SQLAlchemy has, over sealed columns: allowed by name, or refused.

A release that brings another brings it into these tests too, and it is refused until somebody has looked.
"""

import importlib
import inspect
import operator
import pkgutil
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import sqlalchemy
import sqlalchemy.dialects
from sqlalchemy import ColumnElement, String, func, select
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import functions, operators
from sqlalchemy.sql.functions import FunctionElement, GenericFunction
from sqlalchemy.sql.visitors import InternalTraversal

from sqlalchemy_cmk import UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.hooks.unsupported.check import Check
from sqlalchemy_cmk.hooks.unsupported.kinds import check_element, rule_of
from sqlalchemy_cmk.hooks.unsupported.operands import held
from tests.hooks.places import declare
from tests.support.vault import Vault

# Operators get operands here that they warn of.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

# What answers with nothing of the stored bytes but whether they are equal, or there.
DETERMINISTIC = {
    *("eq", "ne", "is_distinct_from", "is_not_distinct_from", "in_op", "not_in_op"),
    *("distinct_op", "any_op", "all_op", "isnot_distinct_from", "notin_op"),
}
NULL_ONLY = {"is_", "is_not", "isnot"}
OPENED = {2, "ann@x", "bob@x", "secret of ann", "secret of bob"}
# These make no SQL: they are what lists are made of, or names of others.
NO_OPERATORS = {"comma_op", "from_", "exists", "custom_op", "mirror", "commutative_op", "comparison_op"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Vault, Any]]:
    folder = tmp_path_factory.mktemp("operations")
    vault = Vault(f"sqlite:///{folder}/x.db", folder)
    yield vault, declare(vault)
    vault.close()


def subclasses(kind: type[Any]) -> set[type[Any]]:
    found = {kind}
    for one in kind.__subclasses__():
        found |= subclasses(one)
    return found


def load_dialects() -> None:
    for package in ("postgresql", "mysql", "sqlite", "oracle", "mssql"):
        path = importlib.import_module(f"sqlalchemy.dialects.{package}").__path__
        for module in pkgutil.iter_modules(path):
            if module.name in ("ext", "array", "hstore", "json", "dml", "base", "expression"):
                importlib.import_module(f"sqlalchemy.dialects.{package}.{module.name}")


load_dialects()
ELEMENTS = sorted(
    {
        one
        for one in subclasses(ColumnElement)
        if one.__module__.startswith("sqlalchemy.") and "Annotated" not in one.__name__
    },
    key=lambda one: f"{one.__module__}.{one.__name__}",
)
FUNCTIONS = sorted(
    {one for one in ELEMENTS if issubclass(one, GenericFunction) and one is not GenericFunction},
    key=lambda one: one.__name__,
)


def operator_functions() -> dict[str, Any]:
    """Return the operators that SQLAlchemy defines, and those of Python that it takes."""
    asking = {"is_", "is_not", "is_true", "is_false", "is_distinct_from", "is_not_distinct_from"}
    named = {
        name: one
        for name, one in vars(operators).items()
        if getattr(one, "__module__", "") == operators.__name__
        and inspect.isfunction(one)
        and name not in NO_OPERATORS
        and name[0] != "_"
        and (name in asking or not name.startswith("is_"))
    }
    arithmetic = "add sub mul truediv mod neg inv floordiv pow lshift rshift and_ or_ matmul"
    comparing = "lt le gt ge eq ne getitem contains"
    return named | {name: getattr(operator, name) for name in f"{arithmetic} {comparing}".split()}


OPERATORS = operator_functions()


def expressions(name: str, column: Any) -> Iterator[Any]:
    """Return an operator applied to a column, in every way that Python allows."""
    for others in ((), ("x",), (["x"],), (None,), ("x", "y"), ("x", "y", "z"), (1,), (select(column),)):
        for operate in (
            lambda *a: OPERATORS[name](column, *a),
            lambda *a: column.operate(OPERATORS[name], *a),
        ):
            try:
                found = operate(column, *others)
            except (TypeError, NotImplementedError, AttributeError, KeyError, ValueError):
                continue
            except sqlalchemy.exc.ArgumentError:
                continue
            if isinstance(found, ColumnElement):
                yield found


def outcome(vault: Vault, statement: Any) -> Any:
    """Return the rows of a statement, or the error."""
    with vault.session() as session, tenant_scope("acme"):
        try:
            return [tuple(row) for row in session.execute(statement)]
        except Exception as error:
            return error


def refused_or_harmless(found: Any, known: set[Any]) -> bool:
    """Return whether an outcome is a refusal, or holds nothing but values that may be seen."""
    if isinstance(found, Exception):
        return isinstance(found, UnsupportedOperation | CompileError)
    return all(value in known for row in found for value in row)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("column", ["secret", "email", "bound"])
def test_every_operator_is_allowed_by_name_or_refused(place: Any, name: str, column: str) -> None:
    vault, people = place
    attribute = getattr(people, column)
    for expression in [*expressions(name, attribute), *expressions(name, people.__table__.c[column])]:
        for statement in (select(people.id).where(expression), select(expression)):
            found = outcome(vault, statement)
            if name in NULL_ONLY or (name in DETERMINISTIC and column == "email"):
                # Whether values are equal, or there; and values of the column itself.
                seen = {None, True, False, "ann@x", "bob@x"}
                assert isinstance(found, Exception) or refused_or_harmless(found, seen), (name, statement)
            elif name in DETERMINISTIC - {"in_op", "not_in_op", "notin_op"}:
                # Compared with None, it is a test for NULL.
                assert refused_or_harmless(found, {None, True, False}), (name, found)
            else:
                assert isinstance(found, UnsupportedOperation | CompileError), (name, found, str(statement))


@pytest.mark.parametrize("kind", FUNCTIONS, ids=lambda one: one.__name__)
def test_every_function_that_sqlalchemy_knows_is_allowed_by_name_or_refused(place: Any, kind: Any) -> None:
    vault, people = place
    made = 0
    for column, others in product((people.secret, people.email, people.bound), ((), ("x",), (1, 2))):
        for arguments in ((column, *others), (*others, column)):
            try:
                statement = select(kind(*arguments))
            except Exception:
                continue
            made += 1
            found = outcome(vault, statement)
            if kind in (functions.count, functions.coalesce):
                assert isinstance(found, Exception) or refused_or_harmless(found, OPENED)
            else:
                # The database may not know an array: nothing comes of it either way.
                assert isinstance(found, Exception), (kind, found)
                if kind not in (functions.count, functions.array_agg):
                    assert isinstance(found, UnsupportedOperation | CompileError), (kind, found)
    takes_none = (functions.AnsiFunction, functions.next_value)
    assert made or issubclass(kind, takes_none)


# What may have a sealed operand: each has a function in hooks/unsupported/kinds.py that looks at its use.
KNOWN = {
    *("BinaryExpression", "BooleanClauseList", "Case", "Cast", "CollectionAggregate", "Exists", "Grouping"),
    *("FunctionFilter", "Label", "Over", "ScalarSelect", "Tuple", "TypeCoerce", "UnaryExpression"),
    *(
        "WithinGroup",
        "AggregateOrderBy",
        "aggregate_order_by",
        "array",
        "_OverrideBinds",
        "TableValuedColumn",
    ),
    *("_label_reference", "_textual_label_reference"),
}
# These have no operands.
LEAVES = {"BindParameter", "ColumnClause", "Column", "MappedColumn", "_OffsetLimitParam"}


@pytest.mark.parametrize("kind", ELEMENTS, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_every_element_is_allowed_by_its_class_or_refused(place: Any, kind: Any) -> None:
    vault, people = place
    element = bare(kind, people.__table__.c.email)
    if kind.__name__ in KNOWN | LEAVES or issubclass(kind, FunctionElement):
        return
    assert rule_of(element) is None, kind
    if any(held(one) for one in element.get_children()):
        with pytest.raises(UnsupportedOperation):
            check_element(Check(select(people.id).compile(vault.engine)), element)


def bare(kind: Any, column: Any) -> Any:
    """Return an element of a class, made by hand, with the column in each place that takes an element."""
    element = object.__new__(kind)  # null() and its like give one object to all
    element.__dict__["type"] = String()
    for name, what in getattr(kind, "_traverse_internals", ()):
        if what is InternalTraversal.dp_clauseelement:
            element.__dict__[name] = column
        elif what is InternalTraversal.dp_clauseelement_tuple:
            element.__dict__[name] = (column,)
        elif name != "type":
            element.__dict__.setdefault(name, None)
    return element


def test_a_subclass_of_a_known_element_is_not_known(place: Any) -> None:
    vault, people = place

    class Louder(sqlalchemy.Label[Any]):
        inherit_cache = False

    class coalesce(functions.coalesce[Any]):
        inherit_cache = True
        _register = False

    class Made(FunctionElement[Any]):
        inherit_cache = False
        name = "count"

    for element in (Louder("x", people.email), coalesce(people.email, people.second), Made(people.email)):
        assert isinstance(outcome(vault, select(element)), UnsupportedOperation | CompileError)
    assert outcome(vault, select(func.count(people.email))) == [(2,)]
