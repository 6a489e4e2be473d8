"""Comparisons in SQL text that search indexes answer, by what Core makes of the same question."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, or_

from sqlalchemy_cmk.columns.asked import refuse_unanswered
from sqlalchemy_cmk.columns.candidates import Candidate
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.token_columns import TokenType, Untokened
from sqlalchemy_cmk.databases.sql_text import lexis_of
from sqlalchemy_cmk.dbapi.comparing import require_list
from sqlalchemy_cmk.dbapi.parameters import Values
from sqlalchemy_cmk.errors import InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.hooks.question_tokens import QuestionTokens
from sqlalchemy_cmk.sql import Asked, Path, Plan
from sqlalchemy_cmk.sql.text import Key, read_text

Owner = Callable[[SealedColumn, Path, Values], str]

# Stands for the table of a question, and is not in what is sent.
_TABLE = "cmk_asked"

_QUESTIONS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "=": lambda column, values: column == values[0],
    "<": lambda column, values: column < values[0],
    "<=": lambda column, values: column <= values[0],
    ">": lambda column, values: column > values[0],
    ">=": lambda column, values: column >= values[0],
    "BETWEEN": lambda column, values: column.between(*values),
    "LIKE": lambda column, values: column.like(values[0]),
}


def ask_indexes(connection: Connection, plan: Plan, values: Values, owner: Owner) -> None:
    """Put the questions of search indexes in the places of a statement's comparisons.

    Args:
        connection: where it runs.
        plan: the statement.
        values: of the execution; its edits are added.
        owner: returns whose rows a comparison is about.

    Raises:
        UnsupportedOperation: no index answers, or only with rows that would have to be dropped.
        TenantRequired: neither the statement nor a scope names the tenant.
    """
    for number, one in enumerate(plan.asked):
        given = [values.known[values.key(at)] for at in one.numbers]
        begin, end = one.span
        values.edits.append((begin, end, _answer(connection, plan, one, given, values, owner, number)))


def _answer(
    connection: Connection,
    plan: Plan,
    one: Asked,
    given: list[Any],
    values: Values,
    owner: Owner,
    number: int,
) -> list[Key]:
    column = one.column
    if one.operator == "ANY" and given[0] is not None:
        require_list(column, given[0])
        given = list(given[0])
        if not given:
            return ["(1 = 0)"]
    if any(value is None for value in given):
        if len(given) == 1:
            return ["(NULL = 1)"]
        raise InvalidValue(f"{column.where}: {one.operator} with NULL: leave it out")
    table = column.table.alias(_TABLE)
    is_one_of = one.operator in ("IN", "ANY")
    asked = [[value] for value in given] if is_one_of else [given]
    ask = _QUESTIONS["=" if is_one_of else one.operator]
    questions = [ask(table.c[column.column.key], values_of_one) for values_of_one in asked]
    if any(isinstance(question, Candidate) for question in questions):
        raise UnsupportedOperation(
            f"{column.where}: the index that answers {one.operator} finds other rows too, which SQL text "
            f"cannot drop: write {_by_model(one)} for the same connection, which compares what it has opened"
        )
    compiled: Any = or_(*questions).compile(dialect=connection.dialect)
    refuse_unanswered(compiled, connection)
    parameters = compiled.construct_params()
    context = SimpleNamespace(
        compiled=compiled,
        root_connection=connection,
        dialect=connection.dialect,
        compiled_parameters=[parameters],
    )
    tokens = QuestionTokens(context, partial(_owner, owner, one, values))
    text = read_text(str(compiled), lexis_of(connection.dialect), plan.text.style)
    names = compiled.positiontup
    binds = {name: bind for bind, name in compiled.bind_names.items()}
    is_named = any(isinstance(parameter.key, str) for parameter in plan.text.parameters)
    parts: list[Key] = ["("]
    at = 0
    for parameter in text.parameters:
        name = parameter.key if isinstance(parameter.key, str) else names[parameter.key]
        key: Key = f"cmk_asked_{number}_{len(parts)}" if is_named else len(values.known)
        values.known[key] = _token(tokens, binds[name], parameters[name])
        parts += [_named(text.parsed[at : parameter.start], one), -1, key]
        at = parameter.end
    return [*parts, _named(text.parsed[at:], one), ")"]


def _by_model(one: Asked) -> str:
    table, key = one.column.table, one.column.column.key
    how = {
        "LIKE": ".like(value)",
        "BETWEEN": ".between(low, high)",
        "IN": ".in_(values)",
        "ANY": ".in_(values)",
    }
    asked = how.get(one.operator, f" {'==' if one.operator == '=' else one.operator} value")
    return f"select({table.name}).where({table.name}.c.{key}{asked})"


def _owner(owner: Owner, one: Asked, values: Values, column: SealedColumn, _: int) -> str:
    return owner(column, one.path, values)


def _token(tokens: QuestionTokens, bind: Any, value: Any) -> Any:
    if not isinstance(bind.type, TokenType):
        raise UnsupportedOperation("a question to a search index in this form: ask by the model")
    return tokens.of(Untokened(bind.type, value), 0)


def _named(text: str, one: Asked) -> str:
    """Return a part of a question for the table as the statement calls it."""
    return text.replace(f"{_TABLE}.", f"{one.qualifier}." if one.qualifier else "")
