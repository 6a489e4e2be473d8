"""The parameters of compiled statements and their types, and the defaults that take a context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, ColumnDefault, Dialect
from sqlalchemy.types import TypeEngine


def parameter_name(compiled: Any, bind: BindParameter[Any]) -> str | None:
    """Return the name of a parameter in a compiled statement; ``None`` if it has no such parameter."""
    names: dict[BindParameter[Any], str] = getattr(compiled, "bind_names", None) or {}
    if bind in names:
        return names[bind]
    # The ORM may compile a copy of the statement, whose parameters have the same keys.
    return next((name for one, name in names.items() if one.key == bind.key), None)


def parameter_value(context: Any, name: str, row: int = 0) -> Any:
    """Return the value of a parameter in one execution of a compiled statement, before it is bound."""
    return context.compiled_parameters[row][name]


def question_value(context: Any, name: str) -> Any:
    """Return the value of a parameter of the only execution of a statement; a list where it is an IN's."""
    expanded = context._expanded_parameters.get(name)
    if expanded is None:
        return parameter_value(context, name)
    return [parameter_value(context, one) for one in expanded]


def with_parameters(context: Any, parameters: Any, values: Mapping[str, Any]) -> Any:
    """Return the parameters of one execution, as the driver takes them, with some values replaced by name."""
    compiled = context.compiled
    if isinstance(parameters, dict):
        keys = {compiled.escaped_bind_names.get(name, name): value for name, value in values.items()}
        return {**parameters, **keys}
    names: list[str] = []
    behind: list[str] = []  # where parameters have numbers, those of an IN are the last
    for name in compiled.positiontup:
        expanded = context._expanded_parameters.get(name)
        if expanded is None:
            names.append(name)
        else:
            (behind if context.dialect.paramstyle.startswith("numeric") else names).extend(expanded)
    every = zip((*names, *behind), parameters, strict=True)
    return tuple(values.get(name, given) for name, given in every)


def retyped(bind: BindParameter[Any], type_: TypeEngine[Any]) -> BindParameter[Any]:
    """Return a copy of a parameter with another type, which still gets the value that is given for it.

    A copy by ``copy()`` has another key, by which a lambda statement or a cache would not find its value.
    """
    return bind._with_binary_element_type(type_)


def written_parameters(compiled: Any) -> list[tuple[str, BindParameter[Any]]]:
    """Return the parameters of a compiled INSERT or UPDATE that columns are set to, by name."""
    return [(name, bind) for bind, name in compiled.bind_names.items() if getattr(bind, "_is_crud", False)]


def _wrappers() -> frozenset[Any]:
    class NoSignature:
        def __call__(self) -> None: ...

    made = (ColumnDefault(lambda: None), ColumnDefault(dict), ColumnDefault(NoSignature()))
    return frozenset(getattr(one.arg, "__code__", None) for one in made)


_WRAPPERS = _wrappers()


def takes_context(default: Any) -> bool:
    """Return whether a column's default is a function that takes SQLAlchemy's execution context."""
    if default is None or not default.is_callable:
        return False
    return getattr(default.arg, "__code__", None) not in _WRAPPERS


def variant_of(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the variant of a type that a dialect uses, as it was declared; the type itself without one."""
    return type_._variant_mapping.get(dialect.name, type_)
