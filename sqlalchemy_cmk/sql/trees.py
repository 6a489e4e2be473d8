"""sqlglot, imported where it is used, and what its trees are asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from sqlalchemy_cmk.databases.sql_text import Lexis
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.sql.refusals import refuse_text


def expressions() -> Any:
    """Return sqlglot's module of expressions.

    Raises:
        ConfigurationError: sqlglot is not installed.
    """
    try:
        from sqlglot import expressions as found
    except ModuleNotFoundError:
        raise ConfigurationError(
            "SQL text that names sealed columns is read by sqlglot, which is not here: run "
            "pip install 'sqlalchemy-cmk[sql]'"
        ) from None
    return found


def parse(text: str, lexis: Lexis) -> Any:
    """Return the tree of one statement.

    Raises:
        UnsupportedOperation: it cannot be parsed, or is several.
    """
    expressions()
    from sqlglot import parse as parse_all
    from sqlglot.errors import SqlglotError

    logger = logging.getLogger("sqlglot")
    level = logger.level
    found: list[Any] = []
    try:
        logger.setLevel(logging.ERROR)  # it warns of what becomes a refusal here
        found = [one for one in parse_all(text, lexis.sqlglot) if one is not None]
    except (SqlglotError, RecursionError):
        pass  # its message shows the text
    finally:
        logger.setLevel(level)
    if len(found) != 1:
        refuse_text("it cannot be parsed")
    return found[0]


def part(node: Any, name: str) -> Any:
    """Return a part of a node that versions of sqlglot call ``from`` or ``from_``, ``with`` or ``with_``."""
    found = node.args.get(name)
    return node.args.get(f"{name}_") if found is None else found


def own_nodes(node: Any, kinds: tuple[type, ...], *, skip: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield the nodes of some kinds below a node, without what is inside another query.

    Args:
        node: where to begin; not yielded itself.
        kinds: the kinds. Queries among them are yielded, and not gone into.
        skip: parts that are not gone into.
    """
    query = expressions().Query
    for child in node.iter_expressions():
        if any(child is one for one in skip):
            continue
        if isinstance(child, kinds):
            yield child
        if not isinstance(child, query):
            yield from own_nodes(child, kinds, skip=skip)


def unwrapped(node: Any) -> Any:
    """Return a node without brackets around it."""
    while isinstance(node, expressions().Paren):
        node = node.this
    return node


def choices(node: Any) -> list[Any]:
    """Return the columns of which COALESCE or CASE gives one, or NULL; empty for anything else."""
    exp = expressions()
    if isinstance(node, exp.Coalesce):
        given = [node.this, *node.expressions]
    elif isinstance(node, exp.Case):
        default = node.args.get("default")
        given = [one.args["true"] for one in node.args["ifs"]] + ([] if default is None else [default])
    else:
        return []
    given = [one for one in map(unwrapped, given) if not isinstance(one, exp.Null)]
    is_column = [isinstance(one, exp.Column) and not isinstance(one.this, exp.Star) for one in given]
    return given if all(is_column) else []


def user_of(node: Any) -> tuple[Any, Any]:
    """Return what uses a node, and the node or the brackets around it that it uses."""
    paren = expressions().Paren
    while isinstance(node.parent, paren):
        node = node.parent
    return node.parent, node
