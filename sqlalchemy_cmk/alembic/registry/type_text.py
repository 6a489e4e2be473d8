"""Types as text and back: how a migration names a Python type, how the table of sealed columns keeps one.

The text of a type is read back by looking names up among what is imported already. Nothing is executed but
the constructors of SQLAlchemy types: a writer to the database must not be able to run code here.
"""

from __future__ import annotations

import ast
import sys
import types
from enum import Enum
from functools import reduce
from importlib import import_module
from inspect import getmodule
from typing import Any, Union, get_args, get_origin

import sqlalchemy
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.codec import is_structured
from sqlalchemy_cmk.errors import ConfigurationError


def python_name(annotation: Any) -> str:
    """Return a class or an annotation such as ``list[app.models.Address]`` with the modules' full names.

    Raises:
        ConfigurationError: it has no name by which a migration could import it.
    """
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(python_name(one) for one in get_args(annotation))
    if origin is not None:
        inner = ", ".join(python_name(one) for one in get_args(annotation))
        return f"{python_name(origin)}[{inner}]"
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    name, module = getattr(annotation, "__qualname__", None), getattr(annotation, "__module__", None)
    if not isinstance(annotation, type) or name is None or "<locals>" in name:
        if getmodule(annotation) is sys.modules.get("typing") and hasattr(annotation, "__name__"):
            return f"typing.{annotation.__name__}"
        raise ConfigurationError(
            f"{annotation!r} cannot be named in a migration: define it at the top of a module"
        )
    return name if module == "builtins" else f"{module}.{name}"


def modules_of(annotation: Any) -> set[str]:
    """Return the modules that the text of :func:`python_name` needs."""
    parts = get_args(annotation)
    found = set().union(*(modules_of(one) for one in parts)) if parts else set()
    origin = get_origin(annotation)
    owner = annotation if origin in (None, Union, types.UnionType) else origin
    module = getattr(owner, "__module__", "builtins")
    return found if module in ("builtins", "types") or owner is Ellipsis else found | {module}


def type_text(type_: Any) -> str:
    """Return the text under which the values' type of an ``EncryptedType`` is kept."""
    if isinstance(type_, TypeEngine):
        return f"{type(type_).__module__}.{type_!r}"
    return python_name(type_)


def type_of(text: str) -> Any:
    """Return the type that :func:`type_text` described; ``None`` if it cannot be found here.

    The result describes itself by the same text.
    """
    try:
        found = _Reader(text).read()
        return found if type_text(found) == text else None
    except (SyntaxError, TypeError, ValueError, AttributeError, LookupError, ArgumentError):
        return None
    except (RecursionError, MemoryError, ConfigurationError):
        return None


class _Reader:
    def __init__(self, text: str) -> None:
        self._tree = ast.parse(text, mode="eval").body
        self._module: str | None = None
        if isinstance(self._tree, ast.Call) and isinstance(self._tree.func, ast.Attribute):
            self._module = ast.unparse(self._tree.func.value)

    def read(self) -> Any:
        found = self._value(self._tree)
        if isinstance(found, TypeEngine) or is_structured(found):
            return found
        raise ValueError("not a type")

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
                return ast.literal_eval(node)
            case ast.List() | ast.Tuple():
                items = [self._value(one) for one in node.elts]
                return items if isinstance(node, ast.List) else tuple(items)
            case ast.Name() | ast.Attribute():
                return self._named(ast.unparse(node))
            case ast.BinOp(op=ast.BitOr()):
                return self._value(node.left) | self._value(node.right)
            case ast.Subscript():
                return self._value(node.value)[self._value(node.slice)]
            case ast.Call():
                return self._made(node)
        raise ValueError("not a type")

    def _made(self, node: ast.Call) -> Any:
        made = self._value(node.func)
        if not (isinstance(made, type) and issubclass(made, TypeEngine)):
            raise ValueError("not a type")
        arguments = [self._value(one) for one in node.args]
        keywords = {one.arg: self._value(one.value) for one in node.keywords if one.arg is not None}
        for one in (*arguments, *keywords.values()):
            # A type's constructor may call what it is given: ARRAY(item_type) makes an instance of it.
            if isinstance(one, type) and not issubclass(one, TypeEngine | Enum):
                raise ValueError("not a type")
        return made(*arguments, **keywords)

    def _named(self, name: str) -> Any:
        module, _, attribute = name.rpartition(".")
        for holder in (module,) if module else (self._module, "sqlalchemy", "builtins"):
            found = _attribute(holder, attribute) if holder else None
            if found is not None:
                return found
        raise LookupError(name)


def _attribute(module: str, name: str) -> Any:
    """Return a class of a module that is imported already, or one of SQLAlchemy's own."""
    while module:
        if module.startswith(f"{sqlalchemy.__name__}."):
            import_module(module)
        if module in sys.modules:
            start: Any = sys.modules[module]
            found = reduce(lambda holder, part: getattr(holder, part, None), name.split("."), start)
            return found if isinstance(found, type) or module == "typing" else None
        # A class within a class.
        module, _, outer = module.rpartition(".")
        name = f"{outer}.{name}"
    return None
